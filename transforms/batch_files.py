"""From files to batches of files."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Duration, Timestamp

from transforms.coders import FileRefCoder
from transforms.records import FileRef

DEFAULT_BATCH_SIZE = 32


@dataclass(eq=False)
class BatchFiles(beam.PTransform[PCollection[FileRef], PCollection[list[FileRef]]]):
    """Group files into batches; only names are held, and what messages brought.

    Attributes:
        max_batch_size: The most files in a batch; the last batch of a bundle may be smaller.
        min_batch_size: Where smaller than `max_batch_size`, Beam measures which size between the two is
            worth its time; None for batches of one size. Without effect with `max_wait_seconds`.
        max_wait_seconds: For a stream, whose bundles may hold one file each: batches form across bundles, and
            go when they are full, or when their first file has waited so long. None or 0 for batches within
            a bundle.
    """

    max_batch_size: int = DEFAULT_BATCH_SIZE
    min_batch_size: int | None = None
    max_wait_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no batch can have, and times that nothing can wait."""
        super().__init__()
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size is {self.max_batch_size}; it must be at least 1")
        if self.min_batch_size is not None and not 1 <= self.min_batch_size <= self.max_batch_size:
            raise ValueError(
                f"min_batch_size is {self.min_batch_size}; it must be from 1 to max_batch_size, "
                f"{self.max_batch_size}"
            )
        if self.max_wait_seconds is not None and not self.max_wait_seconds >= 0:
            raise ValueError(f"max_wait_seconds is {self.max_wait_seconds}; it must be at least 0")

    def expand(self, files: PCollection[FileRef]) -> PCollection[list[FileRef]]:
        """Return lists of `FileRef`s."""
        if self.max_wait_seconds:
            return self._across_bundles(files, self.max_wait_seconds)
        batches: PCollection[list[FileRef]] = files | "Batch" >> beam.BatchElements(
            min_batch_size=self.min_batch_size or self.max_batch_size, max_batch_size=self.max_batch_size
        )
        return batches

    def _across_bundles(self, files: PCollection[FileRef], seconds: float) -> PCollection[list[FileRef]]:
        # Beam's BatchElements would keep files and counts in state with one and the same coder, and pickled.
        keyed = files | "Key" >> beam.Map(_keyed).with_output_types(tuple[str, FileRef])
        collect = beam.ParDo(_Collect(self.max_batch_size, seconds)).with_output_types(list[FileRef])
        batches: PCollection[list[FileRef]] = keyed | "Collect" >> collect
        return batches


def _keyed(ref: FileRef) -> tuple[str, FileRef]:
    return _process(), ref


@functools.cache
def _process() -> str:
    """Name this process, so that there are as many batches in the making as processes."""
    return uuid.uuid4().hex


_WAITING = BagStateSpec("waiting", FileRefCoder())
_COUNT = ReadModifyWriteStateSpec("count", VarIntCoder())
_OLD = TimerSpec("old", TimeDomain.REAL_TIME)
_WINDOW_END = TimerSpec("window_end", TimeDomain.WATERMARK)

_WAITING_PARAM = beam.DoFn.StateParam(_WAITING)
_COUNT_PARAM = beam.DoFn.StateParam(_COUNT)
_OLD_PARAM = beam.DoFn.TimerParam(_OLD)
_WINDOW_END_PARAM = beam.DoFn.TimerParam(_WINDOW_END)


class _Collect(beam.DoFn):
    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds

    def process(  # noqa: PLR0917 (Beam hands them over by their defaults)
        self,
        keyed: tuple[str, FileRef],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = _WAITING_PARAM,
        count: Any = _COUNT_PARAM,
        old: Any = _OLD_PARAM,
        window_end: Any = _WINDOW_END_PARAM,
    ) -> Iterator[list[FileRef]]:
        waiting.add(keyed[1])
        number = (count.read() or 0) + 1
        count.write(number)
        if number >= self._size:
            old.clear()  # or it would cut the next batch short
            yield from _take(waiting, count)
        elif number == 1:
            old.set(Timestamp.now() + Duration.of(self._seconds))
            window_end.set(window.max_timestamp())

    @on_timer(_OLD)
    def on_old(self, waiting: Any = _WAITING_PARAM, count: Any = _COUNT_PARAM) -> Iterator[list[FileRef]]:
        return _take(waiting, count)

    @on_timer(_WINDOW_END)
    def on_window_end(
        self, waiting: Any = _WAITING_PARAM, count: Any = _COUNT_PARAM, old: Any = _OLD_PARAM
    ) -> Iterator[list[FileRef]]:
        old.clear()
        return _take(waiting, count)


def _take(waiting: Any, count: Any) -> Iterator[list[FileRef]]:
    batch = list(waiting.read())
    waiting.clear()
    count.clear()
    if batch:
        yield batch
