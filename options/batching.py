"""How files are grouped."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Flag, FlagGroup, Whole, add_flags
from transforms.batch_files import DEFAULT_BATCH_SIZE


class BatchingOptions(FlagGroup, PipelineOptions):
    """The sizes of batches."""

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
        return problems
