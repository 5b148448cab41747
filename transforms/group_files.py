"""From files to batches of files whose names have something in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms.batch_files import DEFAULT_BATCH_SIZE
from transforms.batch_groups import DEFAULT_ATTRIBUTE, BatchGroups
from transforms.errors import GroupError
from transforms.metrics import count_dead_letter
from transforms.records import DeadLetter, FileRef
from transforms.results import DEAD_LETTERS, Results, results_of


@dataclass(eq=False)
class GroupFiles(beam.PTransform[PCollection[FileRef], Results]):
    r"""Make batches of files that have one key in their names: of one day, of one customer, of one folder.

    The key is what the first group in the pattern's parentheses matches, or what the whole pattern matches
    where it has none. It stays with each file, and so with its prediction, as an attribute: of the name that
    the pattern gives to that group, or `group`. A file that the pattern does not match becomes a dead letter,
    and no group of what is left over: that would be one that nobody named, and could hold most of the files.

    A stream has no end at which a group would be complete: give it windows before this
    (`beam.WindowInto(FixedWindows(60))`); the groups are then those of each window. Beam refuses a stream
    without.

    For keys that are not in the names, use `beam.GroupBy` and `BatchGroups`.

    Attributes:
        pattern: A regular expression, searched for in the uri: `/(?P<day>\d{8})/`.
        max_batch_size: The most files in a batch; larger groups are cut.
    """

    pattern: str
    max_batch_size: int = DEFAULT_BATCH_SIZE

    def __post_init__(self) -> None:
        """Refuse a pattern that is none, and sizes that no batch can have."""
        super().__init__()
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern is {self.pattern!r}; it is no regular expression: {error}") from error
        self._batch = BatchGroups(self.max_batch_size, attribute_of(compiled))

    def expand(self, files: PCollection[FileRef]) -> Results:
        """Return lists of `FileRef`s, and dead letters."""
        keyed = results_of(files, "Key", beam.FlatMap(_keyed, re.compile(self.pattern)), tuple[str, FileRef])
        batches = keyed.main | "Group" >> beam.GroupByKey() | "Batch" >> self._batch
        dead_letters = (keyed.dead_letters, batches.dead_letters) | "DeadLetters" >> beam.Flatten()
        return Results(batches.main, dead_letters)


def attribute_of(pattern: re.Pattern[str]) -> str:
    """Return the name of the attribute that a pattern's keys get."""
    return next((name for name, number in pattern.groupindex.items() if number == 1), DEFAULT_ATTRIBUTE)


def key_of(uri: str, pattern: re.Pattern[str]) -> str:
    """Return the key of a name.

    Raises:
        GroupError: The pattern does not match it.
    """
    match = pattern.search(uri)
    key: str | None = match.group(min(1, pattern.groups)) if match else None
    if key is None:
        raise GroupError(f"{uri} is in no group: --group_by {pattern.pattern} does not match it")
    return key


def _keyed(
    ref: FileRef, pattern: re.Pattern[str]
) -> Iterator[tuple[str, FileRef] | TaggedOutput[str, DeadLetter]]:
    try:
        yield key_of(ref.uri, pattern), ref
    except GroupError as error:
        yield TaggedOutput(DEAD_LETTERS, count_dead_letter(DeadLetter.of(error, ref)))
