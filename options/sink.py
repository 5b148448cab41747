"""Where the records go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.destinations import Destination, Files, Place, Table, beside, parse_destination
from options.flags import Choice, Flag, FlagGroup, Invalid, Share, Whole, add_flags
from transforms.sinks.formats import FORMATS
from transforms.sinks.to_bigquery import METHODS

DEFAULT_WINDOW_SECONDS = 60
DEFAULT_LOAD_SECONDS = 300


class SinkOptions(FlagGroup, PipelineOptions):
    """The outputs, and when a run counts as failed."""

    TITLE = "What comes out"
    FLAGS = (
        Flag(
            "output",
            "A folder, local or gs://, for predictions-*, dead_letters-* and summary.json; when it ends in "
            "-, _ or a dot, what the names of these files begin with. Or bigquery:PROJECT.DATASET.TABLE, a "
            "table that is created if it is not there. Or pubsub:projects/PROJECT/topics/TOPIC, a message "
            "for each prediction.",
            Place("FOLDER_OR_PREFIX|bigquery:TABLE|pubsub:TOPIC"),
            repeated=True,
        ),
        Flag("output_format", "The format of predictions and dead letters.", Choice(tuple(FORMATS)), "jsonl"),
        Flag(
            "dead_letters",
            "Where the dead letters go, in place of: beside the predictions' files, and into the table "
            "TABLE_dead_letters. A topic of predictions has no default.",
            Place("FOLDER_OR_PREFIX|bigquery:TABLE|pubsub:TOPIC"),
            repeated=True,
        ),
        Flag(
            "overwrite",
            "Delete what an earlier run has left in --output, instead of refusing to mix with it. Tables and "
            "topics are only added to. On Dataflow, when the job is accepted; by a template, when it is "
            "described.",
        ),
        Flag(
            "window",
            "In streaming: the records of how many seconds go to one file.",
            Whole(),
            DEFAULT_WINDOW_SECONDS,
        ),
        Flag(
            "bigquery_method",
            "How rows get into tables. Not given: FILE_LOADS in batch, which costs nothing and needs "
            "--temp_location; STREAMING_INSERTS in streaming.",
            Choice(METHODS),
        ),
        Flag(
            "bigquery_load_interval",
            "In streaming with FILE_LOADS: the seconds between two loads.",
            Whole(),
            DEFAULT_LOAD_SECONDS,
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
        problems = super().validate()
        if not self.output:
            problems.insert(0, "--output is missing: give a folder for the predictions")
        if self.outputs and not self.dead_letters and not self.dead_letter_outputs:
            problems.append("--dead_letters is missing: say where they go, since --output is a topic")
        for flag, outputs in (("output", self.outputs), ("dead_letters", self.dead_letter_outputs)):
            problems += [
                f"--{flag} {output} is given twice"
                for number, output in enumerate(outputs)
                if output in outputs[:number]
            ]
        problems += [
            f"--dead_letters {output}: that is the predictions' own; give another"
            for output in self.dead_letter_outputs
            if output in self.outputs and isinstance(output, Table)
        ]
        return problems

    @property
    def outputs(self) -> Sequence[Destination]:
        """Where the predictions go."""
        return _destinations(self.output)

    @property
    def dead_letter_outputs(self) -> Sequence[Destination]:
        """Where the dead letters go."""
        if self.dead_letters:
            return _destinations(self.dead_letters)
        return [place for place in map(beside, self.outputs) if place is not None]

    @property
    def files(self) -> dict[str, str]:
        """How the names of the files begin that are written, with the folder, by the flag that says so."""
        flag = "--dead_letters" if self.dead_letters else "--output"
        named = [("--output", output, "predictions") for output in self.outputs]
        named += [(flag, output, "dead_letters") for output in self.dead_letter_outputs]
        return {place.prefix(name): flag for flag, place, name in named if isinstance(place, Files)}

    @property
    def summary_file(self) -> str | None:
        """The name of the file that tells the end of the run; None where no files are written."""
        files = (output for output in self.outputs if isinstance(output, Files))
        return next((output.prefix("summary.json") for output in files), None)


def _destinations(typed: Sequence[str | Invalid] | None) -> list[Destination]:
    """Read the values of a flag, but for those that it cannot take."""
    return [parse_destination(text) for text in typed or () if not isinstance(text, Invalid)]
