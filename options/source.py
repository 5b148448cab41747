"""What to predict on."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Bytes, Flag, FlagGroup, Text, Whole, add_flags
from transforms.read_files import DEFAULT_MAX_FILE_BYTES, DEFAULT_READ_AHEAD_BYTES, DEFAULT_READ_THREADS


class SourceOptions(FlagGroup, PipelineOptions):
    """The files, and how they are read."""

    TITLE = "What to predict on"
    FLAGS = (
        Flag(
            "input",
            "Files: a name, a glob in quotes ('images/*.png', 'gs://bucket/**.jpg'; ** crosses slashes), "
            "or a list of names with an @ before it: @names.txt (one a line), @names.csv or @names.jsonl "
            "(with a column uri; the others are carried to the output as attributes).",
            Text("FILES"),
            repeated=True,
        ),
        Flag("read_threads", "Files that one worker thread reads at once.", Whole(), DEFAULT_READ_THREADS),
        Flag(
            "read_ahead_bytes",
            "The most bytes that one worker thread holds beyond the batch that is predicted on.",
            Bytes(),
            DEFAULT_READ_AHEAD_BYTES,
        ),
        Flag(
            "max_file_bytes",
            "A larger file is not read, and becomes a dead letter.",
            Bytes(),
            DEFAULT_MAX_FILE_BYTES,
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        missing = (
            [] if self.input else ["--input is missing: say what to predict on, e.g. --input 'images/*.png'"]
        )
        return missing + super().validate()
