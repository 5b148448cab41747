"""A job on Dataflow: from settings, through checks, to its submission."""
