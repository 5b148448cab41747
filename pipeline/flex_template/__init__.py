"""A Flex Template of Dataflow: how it is built, run, and started on a machine of Google's."""
