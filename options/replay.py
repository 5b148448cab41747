"""Which dead letters are tried again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from options.flags import Flag, FlagGroup, Text


class ReplayOptions(FlagGroup):
    """The flags of `beam-predict replay`; no flags of a pipeline."""

    TITLE = "The dead letters, and the list"
    FLAGS = (
        Flag(
            "dead_letters",
            "Files of dead letters in JSON Lines: a name, or a glob in quotes ('out/dead_letters-*.jsonl'); "
            "of a table, what `bq extract --destination_format NEWLINE_DELIMITED_JSON` writes.",
            Text("FILES"),
        ),
        Flag(
            "output", "The list to write, whose name ends in .jsonl: what --input @LIST takes.", Text("FILE")
        ),
        Flag(
            "kind",
            "Take those of this stage, or of this stage and error, as read/FileMissing. Not "
            "given: all that may succeed unchanged (retryable). Those of the stage parse are never taken.",
            Text("STAGE[/ERROR]"),
            repeated=True,
        ),
    )

    # As with Beam's options, what a flag holds is known when it was validated.
    dead_letters: Any
    output: Any
    kind: Any

    def __init__(self, values: Mapping[str, Any]) -> None:
        for flag in self.FLAGS:
            setattr(self, flag.name, values[flag.name])

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        return [*self._problems(), *super().validate()]

    def _problems(self) -> Iterator[str]:
        if self.dead_letters is None:
            yield "--dead_letters is missing: say where they are, e.g. 'out/dead_letters-*.jsonl'"
        if self.output is None:
            yield "--output is missing: say where the list is written, e.g. --output again.jsonl"
        elif isinstance(self.output, str) and not self.output.lower().endswith(".jsonl"):
            yield f"--output {self.output}: its name must end in .jsonl, by which it is read as what it is"
