"""`beam-predict replay`: dead letters become a list of files, to be predicted on again."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from options.flags import add_flags
from options.parsing import Parser, explain_unknown
from options.replay import ReplayOptions
from pipeline.exit_codes import DONE, FAILED
from transforms import storage
from transforms.errors import ConfigurationError, ListError, ParseError, ReadError, UsageError
from transforms.sources.globs import expand_glob

_NEVER = "parse"
"""The stage of inputs that name no file, or one that messages may not name; a list may name any."""

_BROUGHT = "pubsub:"
"""How the names begin of what came as bytes: there is no file to read again."""

_PROGRAM = Path(sys.executable).with_name("beam-predict")
"""As it can be called from any folder, whether or not it is on the PATH."""


@dataclass
class Replay:
    """What becomes of dead letters.

    Attributes:
        kinds: The stages, and stages with errors, that are taken; empty for what is retryable.
        taken: Lines of the list, without repetitions.
        left: The number of dead letters that are not taken, by kind, and why.
        found: All stages, and stages with errors, that there are.
    """

    kinds: Sequence[str] = ()
    taken: dict[bytes, None] = field(default_factory=dict)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: set[str] = field(default_factory=set)

    def add(self, letter: Any) -> None:
        """Take a dead letter, or leave it.

        Raises:
            ConfigurationError: It is no dead letter.
        """
        try:
            stage, kind, uri = letter["stage"], f"{letter['stage']}/{letter['error']}", letter["uri"]
            attributes, retryable = _attributes(letter["attributes"]), _is_true(letter["retryable"])
            wanted = not {stage, kind}.isdisjoint(self.kinds) if self.kinds else retryable
            line = orjson.dumps({**attributes, "uri": uri})
            self.found |= {stage, kind}
            reason = _never(stage, uri) or ("" if wanted else self._unwanted(kind))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"a line is no dead letter: {letter!r:.200}") from error
        if reason:
            self.left[kind, reason] += 1
        else:
            self.taken[line] = None

    def notes(self) -> Iterator[str]:
        """Tell what was left out, and of kinds that there are none of."""
        if not self.found:
            yield "there are no dead letters in there"
        for (kind, reason), count in sorted(self.left.items()):
            yield f"left out: {count:,} {kind}: {reason}"
        for kind in self.kinds:
            if self.found and kind not in self.found:
                close = difflib.get_close_matches(kind, sorted(self.found), n=1)
                yield f"none is of --kind {kind}{f'; did you mean {close[0]}?' if close else ''}"

    def _unwanted(self, kind: str) -> str:
        if self.kinds:
            return "of no --kind that is asked for"
        return f"not retryable; when its cause is removed, take it with --kind {kind}"


def main(arguments: Sequence[str]) -> int:
    """Write the list, and tell what is in it.

    Returns:
        The exit code: `DONE`, or `FAILED` where there is nothing to be tried again, and so no list.

    Raises:
        UsageError: The flags are wrong.
        ConfigurationError: The dead letters cannot be read.
        SystemExit: The help was asked for, and printed.
    """
    flags = _parse(arguments)
    replay = Replay(flags.kind or ())
    for letter in _letters(flags.dead_letters):
        replay.add(letter)
    for note in replay.notes():
        print(note)
    if not replay.taken:
        print("nothing to be tried again")
        return FAILED
    with storage.create(flags.output) as file:
        file.writelines(line + b"\n" for line in replay.taken)
    print(f"written: {len(replay.taken):,} to {flags.output}")
    source = ("--input", f"@{flags.output}")
    print(f"next: {shlex.join((str(_PROGRAM), *source, '--model', 'MODEL', '--output', 'OUTPUT'))}")
    if flags.output.startswith("gs://"):
        print(f"or on Dataflow: {shlex.join(('./run_dataflow.sh', 'batch', *source))}")
    return DONE


def _never(stage: str, uri: str | None) -> str:
    """Tell why a dead letter is never taken, whatever is asked for; nothing where it may be."""
    if stage == _NEVER:
        return "never taken, since it names no file that a list may name; mend the sender"
    if not uri or uri.startswith(_BROUGHT):
        return "there is no file to read again"
    return ""


def _parse(arguments: Sequence[str]) -> ReplayOptions:
    parser = Parser(
        prog="beam-predict replay",
        description="Make a list of the files that have become dead letters, to predict on them again.",
        usage="%(prog)s --dead_letters FILES --output FILE [--kind STAGE[/ERROR]]...",
        allow_abbrev=False,
    )
    add_flags(parser.add_argument_group(ReplayOptions.TITLE), ReplayOptions.FLAGS)
    parsed, unknown = parser.parse_known_args(arguments)
    flags = ReplayOptions(vars(parsed))
    problems = explain_unknown(unknown, [f"--{name}" for name in vars(parsed)]) if unknown else []
    problems += flags.validate()
    if problems:
        raise UsageError(problems)
    return flags


def _letters(pattern: str) -> Iterator[Any]:
    try:
        for ref in expand_glob(pattern):
            if isinstance(ref, ParseError):
                raise ConfigurationError(str(ref))
            with storage.stream(ref.uri) as file:
                yield from (orjson.loads(line) for line in file if line.strip())
    except (ListError, ReadError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"--dead_letters {pattern}: {error}") from error


def _attributes(value: Any) -> Mapping[str, Any]:
    """Return attributes, which BigQuery exports as text."""
    found = orjson.loads(value) if isinstance(value, str) else value
    return dict(found or {})


def _is_true(value: Any) -> bool:
    return value is True or value == "true"
