"""From what the user named to the files to predict on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PBegin, TaggedOutput

from transforms.errors import ItemError, ListError, ParseError
from transforms.metrics import count_dead_letter, count_input
from transforms.records import DeadLetter, FileRef
from transforms.results import DEAD_LETTERS, Results, results_of
from transforms.sources.globs import expand_glob
from transforms.sources.lists import Entry, read_list

LIST_MARK = "@"


@dataclass(eq=False)
class FromInputs(beam.PTransform[PBegin, Results]):
    """List the files of globs and lists, spread over the workers.

    Attributes:
        inputs: Globs (`gs://bucket/**.jpg`), names, and lists of names (`@names.csv`).
    """

    inputs: Sequence[str]

    def __post_init__(self) -> None:
        """Refuse to predict on nothing."""
        super().__init__()
        if not self.inputs:
            raise ValueError("inputs is empty; give at least one name, glob or @list")

    def expand(self, begin: PBegin) -> Results:
        """Return the `FileRef`s and the dead letters of what names no file."""
        inputs = begin | "Inputs" >> beam.Create(list(self.inputs), reshuffle=True)
        listed = results_of(inputs, "List", beam.FlatMap(_listed), FileRef)
        # Without it, the worker that listed a glob would predict on all of its files.
        return listed._replace(main=listed.main | "Spread" >> beam.Reshuffle())


def list_files(named: str) -> Iterator[Entry | ItemError]:
    """List the files of one input.

    Args:
        named: A glob, a name, or a list of names with an `@` before it.

    Yields:
        The files, and an error for what names none.

    Raises:
        StorageUnavailable: The storage failed, and more inputs may be listed at a later try.
    """
    is_list = named.startswith(LIST_MARK)
    try:
        yield from read_list(named.removeprefix(LIST_MARK)) if is_list else expand_glob(named)
    except ListError as error:
        yield error


def _listed(named: str) -> Iterator[FileRef | TaggedOutput[str, DeadLetter]]:
    for entry in list_files(named):
        count_input()
        if isinstance(entry, FileRef):
            yield entry
        else:
            yield TaggedOutput(DEAD_LETTERS, count_dead_letter(_dead_letter(named, entry)))


def _dead_letter(named: str, error: ItemError) -> DeadLetter:
    return DeadLetter.of(error, None if isinstance(error, ParseError) else FileRef(named))
