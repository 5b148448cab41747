"""Whether waiting for storage overlaps with computing: each read waits 50 ms, each batch computes.

python -m benchmarks.read_ahead
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.materials import write_list
from benchmarks.names import LENGTH, write_files
from benchmarks.report import Bound, Section, Table, show
from benchmarks.samples import Samples, interleave
from benchmarks.timing import Pace, noted, run_pipeline, take_pace
from transforms.predictors.base import InputKind, Outcome, Signature
from transforms.read_files import DEFAULT_READ_THREADS, ReadFiles
from transforms.records import FileBytes, FileRef
from transforms.storage.local import LocalStorage

WAIT_SECONDS = 0.05
BATCH = 32
READ_SECONDS = WAIT_SECONDS * BATCH / DEFAULT_READ_THREADS
COMPUTE_SECONDS = (0.04, 0.16)
ROUNDS = 3
MOST_OVER_IDEAL = 1.1

_MEGABYTE = bytes(1_000_000)


@dataclass(frozen=True)
class Way:
    """A way to read, and the number of batches that shows how fast it is."""

    read: ReadFiles
    batches: int


AHEAD, NOT_AHEAD, ONE_BY_ONE = "read ahead", "in parallel, not ahead", "one by one"
WAYS = {
    AHEAD: Way(ReadFiles("bytes"), 12),
    NOT_AHEAD: Way(ReadFiles("bytes", read_ahead_bytes=1), 8),
    ONE_BY_ONE: Way(ReadFiles("bytes", threads=1, read_ahead_bytes=1), 2),
}


@dataclass
class Busy:
    """A model that keeps one processor busy for a time with each batch, without Python's lock.

    Attributes:
        seconds: How long.
    """

    seconds: float
    model: str = "busy"
    model_version: str = "1"
    input_kind: InputKind = "bytes"
    signature: Signature = LENGTH

    def load(self) -> None:
        """Nothing to load."""

    def warm_up(self, batch_size: int) -> None:
        """Nothing to warm up."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """Compute, and return the lengths of the files."""
        noted(len(batch), self._compute)
        return [{"length": np.int64(len(item.content or b""))} for item in batch]

    def _compute(self) -> None:
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            hashlib.blake2b(_MEGABYTE)


@contextmanager
def slow_storage(wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Let each read of a local file wait first, as that of an object in a bucket does."""
    read = LocalStorage.read

    def wait_and_read(storage: LocalStorage, ref: FileRef, max_bytes: int) -> bytes:
        time.sleep(wait_seconds)
        return read(storage, ref, max_bytes)

    with mock.patch.object(LocalStorage, "read", wait_and_read):
        yield


def measure(folder: Path) -> dict[str, list[Pace]]:
    """Return the paces by `WAY, COMPUTE_SECONDS`."""
    files = write_files(folder / "files", BATCH * max(way.batches for way in WAYS.values()))
    outputs = (folder / f"out{index}" for index in count())

    def pipeline(seconds: float, way: Way) -> Callable[[], Pace]:
        names = write_list(next(outputs), files[: way.batches * BATCH])

        def run() -> Pace:
            run_pipeline(Busy(seconds), names, next(outputs), way.read, BATCH)
            return take_pace()

        return run

    measures = {
        f"{name}, {seconds}": pipeline(seconds, way)
        for seconds in COMPUTE_SECONDS
        for name, way in WAYS.items()
    }
    with slow_storage():
        return interleave(measures, ROUNDS)


def over_ideal(pace: Pace) -> float:
    """Compare a run with one that always does the longer of reading and predicting, and never waits."""
    return pace.seconds / max(READ_SECONDS, pace.predicting)


def section(paces: Mapping[str, Sequence[Pace]]) -> Section:
    """Tell what the paces show."""
    rows, ratios = [], []
    for seconds in COMPUTE_SECONDS:
        ways = {name: paces[f"{name}, {seconds}"] for name in WAYS}
        ratio = Samples([over_ideal(pace) for pace in ways[AHEAD]])
        ratios.append(ratio.median)
        computing = Samples([pace.predicting * 1e3 for pace in ways[AHEAD]])
        taken = [Samples([pace.seconds * 1e3 for pace in found]) for found in ways.values()]
        rows.append([f"{computing:.0f}", *(f"{way:.0f}" for way in taken), f"{ratio:.2f}"])
    promise = f"Reading ahead takes at most {MOST_OVER_IDEAL} times the longer of reading and computing"
    return Section(
        title="Storage waits overlap with computing",
        paragraphs=[
            f"A storage in which each read waits {WAIT_SECONDS * 1e3:.0f} ms, and a model that keeps a "
            f"processor busy for a fixed time with each batch of {BATCH} files. With "
            f"{DEFAULT_READ_THREADS} threads (the default) a batch's reads take {READ_SECONDS * 1e3:.0f} ms; "
            "so a batch cannot take less than the longer of that and the model's time. The whole pipeline "
            f"ran on the local runner, {ROUNDS} times for each number, in turn. The table shows "
            "milliseconds a batch, between the end of the first batch and the end of the last.",
            f"*{NOT_AHEAD.capitalize()}* is `--read_ahead_bytes 1`; *{ONE_BY_ONE}* is `--read_threads 1` "
            "with it.",
        ],
        tables=[Table(["the model's time", *WAYS, "read ahead / the longer of the two"], rows)],
        bounds=[
            Bound(promise, ", ".join(f"{ratio:.2f}" for ratio in ratios), max(ratios) <= MOST_OVER_IDEAL)
        ],
    )


def main() -> int:
    """Print the section, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        return show(section(measure(Path(folder))))


if __name__ == "__main__":
    sys.exit(main())
