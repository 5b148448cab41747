"""From globs that are looked at again and again to the files to predict on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import apache_beam as beam
from apache_beam.pvalue import PBegin, TaggedOutput

from transforms import storage
from transforms.errors import FileMissing, ListError, ParseError, ReadError
from transforms.metrics import count_dead_letter, count_failed_poll, count_input
from transforms.records import DeadLetter, FileRef
from transforms.results import Results
from transforms.sources.drop_duplicates import DropDuplicates
from transforms.sources.globs import expand_glob
from transforms.sources.polls import Polls

_log = logging.getLogger(__name__)

_UNWRITABLE = "unwritable"


@dataclass(eq=False)
class FromWatch(beam.PTransform[PBegin, Results]):
    """List the files of globs again and again, and let each new one go on: a stream without messages.

    A file is new where no earlier listing had its uri with its generation; so an overwritten file is. A glob
    that matches nothing is looked at again, and so is one that cannot be listed, which is logged and counted.

    Attributes:
        patterns: Globs (`gs://bucket/**.jpg`) and names.
        poll_seconds: Between two listings.
    """

    patterns: Sequence[str]
    poll_seconds: float

    def __post_init__(self) -> None:
        """Refuse to watch nothing, and to poll without a pause."""
        super().__init__()
        if not self.patterns:
            raise ValueError("patterns is empty; give at least one glob")
        if not self.poll_seconds > 0:
            raise ValueError(f"poll_seconds is {self.poll_seconds}; it must be above 0")

    def expand(self, begin: PBegin) -> Results:
        """Return the `FileRef`s, and the dead letters of files whose names no output can hold."""
        polls = begin | "Polls" >> Polls(self.poll_seconds)
        patterns = polls | "Patterns" >> beam.FlatMap(_each, tuple(self.patterns)).with_output_types(str)
        list_files = beam.FlatMap(_listed).with_output_types(FileRef, **{_UNWRITABLE: FileRef})
        listed = patterns | "List" >> list_files.with_outputs(_UNWRITABLE, main="main")
        new = listed["main"] | "DropDuplicates" >> DropDuplicates(counted=False)
        unwritable = listed[_UNWRITABLE] | "DropUnwritableDuplicates" >> DropDuplicates(counted=False)
        return Results(
            new | "Count" >> beam.Map(_counted).with_output_types(FileRef),
            unwritable | "Unwritable" >> beam.Map(_dead_letter).with_output_types(DeadLetter),
        )


def poll(pattern: str) -> Iterator[FileRef | ParseError]:
    """List what a pattern matches now; nothing, if that cannot be found out this time."""
    try:
        yield from expand_glob(pattern)
    except (ListError, ReadError) as error:
        if not _is_empty(pattern, error):
            _log.warning("%s could not be listed, and is tried again: %s", pattern, error)
            count_failed_poll()


def _is_empty(pattern: str, error: Exception) -> bool:
    """Tell whether nothing matched, as opposed to a place that is missing or failed."""
    if isinstance(error, ReadError):
        return False
    return error.__cause__ is None or (
        isinstance(error.__cause__, FileMissing) and not storage.is_pattern(pattern)
    )


def _each(_: object, patterns: tuple[str, ...]) -> tuple[str, ...]:
    return patterns


def _listed(pattern: str) -> Iterator[FileRef | TaggedOutput[str, FileRef]]:
    for entry in poll(pattern):
        yield entry if isinstance(entry, FileRef) else TaggedOutput(_UNWRITABLE, _with_reason(entry))


def _with_reason(error: ParseError) -> FileRef:
    """Make of a name that cannot be written one that can, so that it passes where duplicates are dropped."""
    return FileRef(error.payload, attributes={_UNWRITABLE: str(error)})


def _counted(ref: FileRef) -> FileRef:
    count_input()
    return replace(ref, arrived=time.time())


def _dead_letter(ref: FileRef) -> DeadLetter:
    count_input()
    return count_dead_letter(DeadLetter.of(ParseError(ref.attributes[_UNWRITABLE], ref.uri), None))
