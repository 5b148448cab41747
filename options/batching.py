"""How files are grouped."""

from __future__ import annotations

import re
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Flag, FlagGroup, Text, Whole, add_flags
from transforms.batch_files import DEFAULT_BATCH_SIZE

DEFAULT_BATCH_WAIT_MSEC = 200


class Pattern(Text):
    """A regular expression; kept as text, since options are."""

    def __init__(self) -> None:
        super().__init__("REGEX")

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        try:
            return re.compile(super().parse(text)).pattern
        except re.error as error:
            raise ValueError(f"must be a regular expression of Python's ({error})") from error


class BatchingOptions(FlagGroup, PipelineOptions):
    """The sizes of batches, and what their files have in common."""

    TITLE = "Batches"
    FLAGS = (
        Flag(
            "max_batch_size",
            "The most files that the model sees at once.",
            Whole(),
            DEFAULT_BATCH_SIZE,
        ),
        Flag(
            "min_batch_size",
            "Where smaller than --max_batch_size, Beam measures which size between the two is worth "
            "its time. Not given: all batches have --max_batch_size, but for the last.",
            Whole(),
        ),
        Flag(
            "max_batch_wait",
            "In streaming: the milliseconds that a name waits at most for its batch to fill.",
            Whole(minimum=0),
            DEFAULT_BATCH_WAIT_MSEC,
        ),
        Flag(
            "group_by",
            "Predict together only on files with the same key in their names: what the first group in the "
            "parentheses of this regular expression matches, or all of it matches where it has none; it is "
            "searched for in the whole name. The key is written with each prediction as the attribute "
            "`group`, or under the name of that group: '/(?P<day>[0-9]{8})/'. A file that it does not match "
            "becomes a dead letter. Not given: files are batched as they come.",
            Pattern(),
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        problems = super().validate()
        sizes = self.given("min_batch_size") and self.given("max_batch_size")
        if sizes and self.min_batch_size > self.max_batch_size:
            problems.append(
                f"--min_batch_size {self.min_batch_size} is above --max_batch_size {self.max_batch_size}; "
                "lower the one or raise the other"
            )
        if self.given("group_by") and self.given("min_batch_size"):
            problems.append(
                "--min_batch_size has no effect with --group_by, where a batch is a group; leave one out"
            )
        return problems
