"""Once is enough: files that come again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.coders import BooleanCoder
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from transforms.metrics import count_skipped
from transforms.records import FileRef

DUPLICATE = "duplicate"
"""Why such a file is skipped."""


@dataclass(eq=False)
class DropDuplicates(beam.PTransform[PCollection[FileRef], PCollection[FileRef]]):
    """Let each content of a file pass once: what has the same uri and generation is counted, and dropped.

    Where the generation is not known, the uri alone decides. Each window remembers its own.

    Attributes:
        seconds: How long a file is remembered after it has passed, by the clock; None for ever.
        counted: Whether a file that is dropped is an input, to be counted as skipped.
    """

    seconds: float | None = None
    counted: bool = True

    def __post_init__(self) -> None:
        """Refuse a time in which nothing is remembered."""
        super().__init__()
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds}; it must be above 0, or None to remember for ever")

    def expand(self, files: PCollection[FileRef]) -> PCollection[FileRef]:
        """Return the first of each."""
        first = _First(self.counted) if self.seconds is None else _FirstInTime(self.counted, self.seconds)
        keyed = files | "Key" >> beam.Map(_keyed).with_output_types(tuple[bytes, FileRef])
        passed: PCollection[FileRef] = keyed | "First" >> beam.ParDo(first).with_output_types(FileRef)
        return passed


def _keyed(ref: FileRef) -> tuple[bytes, FileRef]:
    return orjson.dumps([ref.uri, ref.generation]), ref


_SEEN = beam.DoFn.StateParam(BagStateSpec("seen", BooleanCoder()))
_FORGET = TimerSpec("forget", TimeDomain.REAL_TIME)
_FORGET_TIMER = beam.DoFn.TimerParam(_FORGET)


class _First(beam.DoFn):
    def __init__(self, counted: bool) -> None:
        self._counted = counted

    def process(self, keyed: tuple[bytes, FileRef], seen: Any = _SEEN) -> Iterator[FileRef]:
        if any(seen.read()):
            if self._counted:
                count_skipped(DUPLICATE)
            return
        seen.add(True)
        yield keyed[1]


class _FirstInTime(beam.DoFn):
    def __init__(self, counted: bool, seconds: float) -> None:
        self._counted = counted
        self._seconds = seconds

    def process(
        self, keyed: tuple[bytes, FileRef], seen: Any = _SEEN, forget: Any = _FORGET_TIMER
    ) -> Iterator[FileRef]:
        if any(seen.read()):
            if self._counted:
                count_skipped(DUPLICATE)
            return
        seen.add(True)
        forget.set(_now() + self._seconds)
        yield keyed[1]

    @on_timer(_FORGET)
    def forget(self, seen: Any = _SEEN) -> None:
        seen.clear()


def _now() -> Timestamp:
    return Timestamp.now()
