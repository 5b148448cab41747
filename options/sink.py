"""Where the records go."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Choice, Flag, FlagGroup, Share, Text, add_flags
from transforms.sinks.formats import FORMATS


class SinkOptions(FlagGroup, PipelineOptions):
    """The output, and when a run counts as failed."""

    TITLE = "What comes out"
    FLAGS = (
        Flag(
            "output",
            "A folder, local or gs://, for predictions-*, dead_letters-* and summary.json; when it ends in "
            "-, _ or a dot, what the names of these files begin with.",
            Text("FOLDER_OR_PREFIX"),
        ),
        Flag("output_format", "The format of predictions and dead letters.", Choice(tuple(FORMATS)), "jsonl"),
        Flag(
            "dead_letters",
            "Another folder or prefix for the dead letters. Not given: beside the predictions.",
            Text("FOLDER_OR_PREFIX"),
        ),
        Flag(
            "overwrite",
            "Delete what an earlier run has left in --output, instead of refusing to mix with it.",
        ),
        Flag(
            "max_dead_letter_ratio",
            "The share of dead letters among the inputs, from 0 to 1, above which the run ends with code 3.",
            Share(),
            1.0,
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        missing = [] if self.output else ["--output is missing: give a folder for the predictions"]
        return missing + super().validate()

    @property
    def predictions_prefix(self) -> str:
        """How the names of the predictions' files begin, with the folder."""
        return file_prefix(self.output, "predictions")

    @property
    def dead_letters_prefix(self) -> str:
        """How the names of the dead letters' files begin, with the folder."""
        return file_prefix(self.dead_letters or self.output, "dead_letters")

    @property
    def summary_file(self) -> str:
        """The name of the file that tells the end of the run."""
        return file_prefix(self.output, "summary.json")


def file_prefix(output: str, name: str) -> str:
    """Put a name into a folder, or behind a prefix of names."""
    if output.endswith(("-", "_", ".")) and output not in (".", ".."):
        return output + name
    return f"{output.rstrip('/')}/{name}"
