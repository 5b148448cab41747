"""What the pipeline itself costs for each name: names from a list, through a trivial model, to JSON Lines.

python -m benchmarks.names [COUNT]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.materials import write_list
from benchmarks.report import Bound, Section, Table, show
from benchmarks.samples import Samples, interleave
from benchmarks.timing import count_lines, run_pipeline
from transforms.predictors.base import InputKind, Outcome, Signature, TensorSpec
from transforms.records import FileBytes

COUNT = 100_000
ROUNDS = 5
MOST_MICROSECONDS = 100

LENGTH = Signature(
    "length", (TensorSpec("name", "string", (None,)),), (TensorSpec("length", "int64", (None,)),)
)


@dataclass
class NameLength:
    """A model that costs nothing: the length of the name."""

    model: str = "name-length"
    model_version: str = "1"
    input_kind: InputKind = "names"
    signature: Signature = LENGTH

    def load(self) -> None:
        """Nothing to load."""

    def warm_up(self, batch_size: int) -> None:
        """Nothing to warm up."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """Return the lengths of the names."""
        return [{"length": np.int64(len(item.ref.uri))} for item in batch]


def write_files(folder: Path, number: int) -> list[Path]:
    """Write small files: the pipeline looks up the size of each."""
    folder.mkdir()
    paths = [folder / f"{index:07}.txt" for index in range(number)]
    for path in paths:
        path.write_bytes(b"x")
    return paths


@dataclass(frozen=True)
class Cost:
    """Seconds of a run: on the clock, and of all processors."""

    clock: float
    processors: float


def measure(folder: Path, number: int) -> list[Cost]:
    """Return the costs of several runs; one small run before them pays for the imports."""
    paths = write_files(folder / "files", number)
    names = write_list(folder / "names.txt", paths)
    outputs = (folder / f"out{index}" for index in count())

    def run() -> Cost:
        output = next(outputs)
        clock, processors = time.perf_counter(), time.process_time()
        run_pipeline(NameLength(), names, output)
        cost = Cost(time.perf_counter() - clock, time.process_time() - processors)
        if count_lines(output) != number:
            raise RuntimeError(f"{count_lines(output):,} of {number:,} names have a prediction")
        return cost

    run_pipeline(NameLength(), write_list(folder / "first.txt", paths[:100]), folder / "first")
    return interleave({"run": run}, ROUNDS)["run"]


def section(costs: Sequence[Cost], number: int) -> Section:
    """Tell what the costs show."""
    seconds = Samples([cost.clock for cost in costs])
    each = seconds.scaled(1e6 / number)
    processors = Samples([cost.processors for cost in costs]).scaled(1e6 / number)
    promise = f"A name costs less than {MOST_MICROSECONDS} us"
    return Section(
        title="What the pipeline costs for each name",
        paragraphs=[
            f"{number:,} names of files of one byte, from a list, through a model that returns the length "
            f"of the name, to JSON Lines, on the local runner with one worker; {ROUNDS} runs. It is all the "
            "pipeline's own work: listing, spreading, batching, looking up each file's size, predicting, "
            "writing. For comparison: to decode a photo of 50 kB takes several hundred microseconds.",
        ],
        tables=[
            Table(
                ["names", "seconds", "us a name", "processors' us a name"],
                [[f"{number:,}", f"{seconds:.1f}", f"{each:.0f}", f"{processors:.0f}"]],
            )
        ],
        bounds=[Bound(promise, f"{each.median:.0f} us", each.median < MOST_MICROSECONDS)],
    )


def main(number: int = COUNT) -> int:
    """Print the section, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        return show(section(measure(Path(folder), number), number))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
