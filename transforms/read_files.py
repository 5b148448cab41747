"""From batches of names to batches of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms.metrics import count_bytes, count_dead_letter
from transforms.places import Element, Place
from transforms.predictors.base import INPUT_KINDS, InputKind
from transforms.read_ahead import ReadAhead, ReadLimits
from transforms.records import DeadLetter, FileBytes, FileRef
from transforms.results import DEAD_LETTERS, Results, results_of

DEFAULT_READ_THREADS = 16
DEFAULT_MAX_FILE_BYTES = 64 << 20
DEFAULT_READ_AHEAD_BYTES = 256 << 20


@dataclass(eq=False)
class ReadFiles(beam.PTransform[PCollection[list[FileRef]], Results]):
    """Read the files of each batch, and those of the next batches while this one is predicted on.

    What cannot be read leaves its batch as a dead letter; the batches stay in order. What an input itself has
    brought is passed on, and nothing is read for it.

    Attributes:
        input_kind: What the model is fed with; for `names`, it is only seen that each file is there and of an
            allowed size.
        threads: Files that one worker thread reads at once.
        max_file_bytes: A larger file is not read.
        read_ahead_bytes: The most bytes that one worker thread holds beyond the batch that is predicted on.
    """

    input_kind: InputKind = "bytes"
    threads: int = DEFAULT_READ_THREADS
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES
    read_ahead_bytes: int = DEFAULT_READ_AHEAD_BYTES

    def __post_init__(self) -> None:
        """Refuse values that read nothing."""
        super().__init__()
        if self.input_kind not in INPUT_KINDS:
            raise ValueError(f"input_kind is {self.input_kind!r}; it must be one of {', '.join(INPUT_KINDS)}")
        for name in ("threads", "max_file_bytes", "read_ahead_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    def expand(self, batches: PCollection[list[FileRef]]) -> Results:
        """Return batches of `FileBytes`, and dead letters."""
        limits = ReadLimits(
            threads=self.threads,
            max_file_bytes=self.max_file_bytes,
            ahead_bytes=self.read_ahead_bytes,
            content=self.input_kind != "names",
        )
        return results_of(batches, "Read", beam.ParDo(_Read(limits)), list[FileBytes])


class _Read(beam.DoFn):
    def __init__(self, limits: ReadLimits) -> None:
        self._limits = limits
        self._ahead: ReadAhead[Place] | None = None

    def start_bundle(self) -> None:
        if self._ahead:  # batches of a bundle that failed, and that will come again
            self.teardown()

    def process(
        self,
        batch: Sequence[FileRef],
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Element]:
        ahead = self._ahead = self._ahead if self._ahead is not None else ReadAhead(self._limits)
        ahead.put(batch, Place(timestamp, window))
        while ahead.is_far_ahead():
            yield from self._deliver(ahead)

    def finish_bundle(self) -> Iterator[Element]:
        while self._ahead:
            yield from self._deliver(self._ahead)

    def teardown(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _deliver(self, ahead: ReadAhead[Place]) -> Iterator[Element]:
        place, outcomes = ahead.take()
        read = [outcome for _, outcome in outcomes if isinstance(outcome, FileBytes)]
        count_bytes(sum(len(item.content or b"") for item in read))
        for ref, outcome in outcomes:
            if not isinstance(outcome, FileBytes):
                yield TaggedOutput(DEAD_LETTERS, place.at(count_dead_letter(DeadLetter.of(outcome, ref))))
        if read:
            yield place.at(read)  # comes back when the steps that are fused with this one are done with it
