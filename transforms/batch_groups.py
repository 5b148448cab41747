"""From groups of files to batches of files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import apache_beam as beam
import orjson
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms.batch_files import DEFAULT_BATCH_SIZE
from transforms.errors import GroupError, ItemError, ParseError
from transforms.metrics import count_dead_letter
from transforms.records import DeadLetter, FileRef, shown
from transforms.results import DEAD_LETTERS, Results, results_of

DEFAULT_ATTRIBUTE = "group"

Item = TypeVar("Item")


@dataclass(eq=False)
class BatchGroups(beam.PTransform[PCollection[tuple[Any, Iterable[Any]]], Results]):
    """Make batches of groups, as they come out of a `GroupByKey`; no batch has files of two groups.

    A group is a key and its files: names, or `FileRef`s. The key is any JSON value, and stays with each file
    as an attribute, and so with each prediction and each dead letter. A group is cut at the largest batch
    size while it is read, so that it may be larger than the memory; its batches are spread over the workers.

    Attributes:
        max_batch_size: The most files in a batch.
        attribute: The name under which the key is kept.

    Example:
        >>> groups = names | beam.GroupBy(customer_of) | BatchGroups()
        >>> groups.main | ReadFiles() | ...
    """

    max_batch_size: int = DEFAULT_BATCH_SIZE
    attribute: str = DEFAULT_ATTRIBUTE

    def __post_init__(self) -> None:
        """Refuse sizes that no batch can have."""
        super().__init__()
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size is {self.max_batch_size}; it must be at least 1")

    def expand(self, groups: PCollection[tuple[Any, Iterable[Any]]]) -> Results:
        """Return lists of `FileRef`s, and dead letters of what is no file or has no place for the key."""
        cut = beam.FlatMap(_cut, self.max_batch_size, self.attribute)
        batches = results_of(groups, "Cut", cut, list[FileRef])
        # Without it, one worker would predict on all batches of a group.
        return batches._replace(main=batches.main | "Spread" >> beam.Reshuffle())


def in_group(item: Any, key: Any, attribute: str = DEFAULT_ATTRIBUTE) -> FileRef:
    """Keep the key of a group with one of its files.

    Args:
        item: A name, or a `FileRef`.
        key: Any JSON value.
        attribute: The name under which the key is kept.

    Raises:
        ParseError: The item is neither, or the key is no JSON value.
        GroupError: The file has another attribute of that name.
    """
    ref = FileRef(item) if isinstance(item, str) and item else item
    if not isinstance(ref, FileRef):
        raise ParseError(f"{shown(item)} is no name of a file; it is in the group {shown(key)}", repr(item))
    encoded = _encoded(key)
    if encoded is None:
        raise ParseError(
            f"{shown(key)} cannot be the key of a group, which must be a JSON value, as NaN and infinities "
            "are not",
            ref.uri,
        )
    # Compared as JSON, since what crosses a shuffle becomes that: a tuple comes out as a list.
    if attribute in ref.attributes and _encoded(ref.attributes[attribute]) != encoded:
        raise GroupError(
            f"{ref.uri} is in the group {shown(key)}, and has an attribute {attribute!r} of its own; give "
            "the group's key another name: --group_by '(?P<NAME>...)', or attribute= in Python"
        )
    return replace(ref, attributes={**ref.attributes, attribute: key})


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut items into lists of a size, but for the last, holding one list at a time."""
    rest = iter(items)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk


def _cut(
    group: tuple[Any, Iterable[Any]], size: int, attribute: str
) -> Iterator[list[FileRef] | TaggedOutput[str, DeadLetter]]:
    key, items = group
    for chunk in chunks(items, size):
        files = []
        for item in chunk:
            try:
                files.append(in_group(item, key, attribute))
            except ItemError as error:
                letter = DeadLetter.of(error, item if isinstance(item, FileRef) else None)
                yield TaggedOutput(DEAD_LETTERS, count_dead_letter(letter))
        if files:
            yield files


def _encoded(value: Any) -> bytes | None:
    """Encode a JSON value, equal values alike; None where it is none."""
    try:
        json.dumps(value, allow_nan=False, default=str)  # for orjson makes null of NaN and infinities
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        return None
