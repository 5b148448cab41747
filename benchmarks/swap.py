"""What a swap of models costs the items that flow meanwhile.

python -m benchmarks.swap [SWAPS] [ITEMS_A_SECOND]
"""

from __future__ import annotations

import importlib
import math
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks.commands import REPOSITORY
from benchmarks.report import Bound, Section, Table, show
from benchmarks.samples import Samples
from pipeline.local import local_runner
from transforms.predict import Predict
from transforms.predictors.open_model import open_model
from transforms.predictors.polling import open_newest
from transforms.predictors.versions import VersionedModel
from transforms.records import FileBytes, FileRef, Prediction

DIGITS = REPOSITORY / "examples" / "digits"
RATE = 1_000
SWAPS = 5
BATCH = 32
POLL_SECONDS = 0.3
QUIET_SECONDS = 3.0  # before the first swap, and between two


@dataclass(frozen=True)
class Wait:
    """How long an item waited.

    Attributes:
        place: In its batch, from 0.
        arrived: In seconds.
        seconds: From its arrival until its record was made.
        version: Of the model.
    """

    place: int
    arrived: float
    seconds: float
    version: int


@dataclass(frozen=True)
class Phases:
    """The waits before the first swap, during each, and between and after them."""

    before: Sequence[Wait]
    during: Sequence[Sequence[Wait]]
    after: Sequence[Wait]

    @classmethod
    def of(cls, waits: Sequence[Wait], spans: Sequence[tuple[float, float]]) -> Phases:
        """Sort waits by when the items arrived, given from when until when each swap took."""

        def arrived(begin: float, end: float) -> list[Wait]:
            return [wait for wait in waits if begin <= wait.arrived < end]

        first, ends = spans[0][0], [end for _, end in spans]
        begins = [*(begin for begin, _ in spans[1:]), math.inf]
        quiet = [arrived(end, begin) for end, begin in zip(ends, begins, strict=True)]
        after = [wait for waits in quiet for wait in waits]
        return cls(arrived(-math.inf, first), [arrived(*span) for span in spans], after)


class Flow:
    """What arrives, and what became of it; the pipeline runs in this process."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.files = [
            FileBytes(FileRef(str(path), size=path.stat().st_size), path.read_bytes())
            for path in sorted((DIGITS / "images").iterdir())
        ]
        self.arrived = 0
        self.waits: list[Wait] = []
        self.ended = threading.Event()

    def batches(self) -> Iterator[Sequence[FileBytes]]:
        """Yield a batch whenever the last of its items arrives."""
        yield [self._item(number, time.time()) for number in range(-BATCH, 0)]  # waits for the model to load
        start = time.time()
        while not self.ended.is_set():
            first = self.arrived
            self.arrived += BATCH
            threading.Event().wait(start + self.arrived / self.rate - time.time())
            yield [
                self._item(number, start + (number + 1) / self.rate) for number in range(first, self.arrived)
            ]

    def note(self, record: Prediction) -> None:
        """Take down how long an item waited."""
        arrived, number = record.attributes["arrived"], record.attributes["number"]
        seconds = record.predicted_at.timestamp() - arrived
        self.waits.append(Wait(number % BATCH, arrived, seconds, int(record.model_version)))

    def version(self) -> int:
        """Return the version of the last record."""
        return self.waits[-1].version if self.waits else 0

    def _item(self, number: int, arrived: float) -> FileBytes:
        file = self.files[number % len(self.files)]
        return replace(file, ref=replace(file.ref, attributes={"number": number, "arrived": arrived}))


def swap_models(models: Path, flow: Flow, swaps: int) -> list[tuple[float, float]]:
    """Publish versions one after another, and return from when until when each swap took."""
    wait = threading.Event().wait
    while flow.version() != 1:
        wait(0.01)
    spans = []
    for version in range(2, 2 + swaps):
        wait(QUIET_SECONDS)
        shutil.copytree(DIGITS / "model", models / "copy")
        begin = time.time()
        (models / "copy").rename(models / str(version))
        while flow.version() != version:
            wait(0.01)
        spans.append((begin, time.time() + 1.0))
    wait(QUIET_SECONDS)
    flow.ended.set()
    return spans


def run(models: Path, flow: Flow) -> None:
    """Predict until the flow has ended."""
    versions = VersionedModel(str(models), partial(open_model, signature="from_bytes"))
    predictor = open_newest(versions, poll_seconds=POLL_SECONDS)
    options = PipelineOptions([])
    pipeline = beam.Pipeline(runner=local_runner(options), options=options)
    place = _keep(flow)
    batches = pipeline | beam.Create([place]) | beam.FlatMap(_arrive)
    results = batches | Predict(predictor, BATCH)
    _ = results.main | "Note" >> beam.Map(_note, place)
    _ = results.dead_letters | "Print" >> beam.Map(print)
    pipeline.run().wait_until_finish()


_FLOWS: list[Flow] = []  # of which the pipeline, which runs in this process, knows the place


def _keep(flow: Flow) -> int:
    _FLOWS.append(flow)
    return len(_FLOWS) - 1


def _arrive(place: int) -> Iterator[Sequence[FileBytes]]:
    return _FLOWS[place].batches()


def _note(record: Prediction, place: int) -> None:
    _FLOWS[place].note(record)


def measure(swaps: int, rate: int) -> Phases:
    """Let items flow through a number of swaps, and return how long they waited."""
    flow, spans = Flow(rate), list[tuple[float, float]]()
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        shutil.copytree(DIGITS / "model", models / "1")
        swapping = threading.Thread(
            target=lambda: spans.extend(swap_models(models, flow, swaps)), daemon=True
        )
        swapping.start()
        run(models, flow)
        swapping.join()
    if len(flow.waits) != flow.arrived + BATCH or flow.version() != 1 + swaps:
        raise RuntimeError(f"{len(flow.waits) - BATCH:,} of {flow.arrived:,} items have a prediction")
    return Phases.of(flow.waits[BATCH:], spans)


def allowed(before: Sequence[Wait], rate: int) -> list[float]:
    """Return the longest wait that is allowed to an item, by its place in its batch."""
    places = range(BATCH)
    usual = [statistics.median(wait.seconds for wait in before if wait.place == place) for place in places]
    return [2 * seconds + BATCH / rate for seconds in usual]


def row(name: str, waits: Sequence[Wait], limits: Sequence[float]) -> list[str]:
    """Make a row of the table."""
    seconds = sorted(wait.seconds for wait in waits)
    shown = (statistics.median(seconds), seconds[int(len(seconds) * 0.99)], seconds[-1])
    late = sum(wait.seconds > limits[wait.place] for wait in waits)
    return [name, f"{len(waits):,}", *(f"{1_000 * value:.0f}" for value in shown), f"{late:,}"]


def section(phases: Phases, swaps: int, rate: int) -> Section:
    """Tell what the waits show."""
    limits = allowed(phases.before, rate)
    worst = Samples([max(wait.seconds / limits[wait.place] for wait in waits) for waits in phases.during])
    return Section(
        title="A swap of models keeps nobody waiting",
        paragraphs=[
            f"The digits, {rate:,} a second, in batches of {BATCH}, through the predict step on the local "
            f"runner, while {swaps} newer versions of the model appear one after another (looked for every "
            f"{POLL_SECONDS} s). An item waits from its arrival, while its batch fills, until its record is "
            "made; its usual wait is the median of all items with the same place in their batches before the "
            "first swap. *During* is from the moment when a version is there until a second after its first "
            "record. The table shows milliseconds; *too long*: items that wait longer than twice their usual "
            "wait and the time in which one batch arrives. Other work on the machine makes some wait, with a "
            "swap or without.",
        ],
        tables=[
            Table(
                ["waits", "items", "median", "99%", "longest", "too long"],
                [
                    row("before", phases.before, limits),
                    row("during", [wait for waits in phases.during for wait in waits], limits),
                    row("after", phases.after, limits),
                ],
            )
        ],
        bounds=[
            Bound(
                "During no swap does an item wait longer than twice its usual wait and one batch",
                f"the longest waits are {worst:.2f} of that",
                max(worst.values) <= 1,
            )
        ],
    )


def main(swaps: int = SWAPS, rate: int = RATE) -> int:
    """Print the section, and return the exit code."""
    return show(section(measure(swaps, rate), swaps, rate))


if __name__ == "__main__":
    # Under its own name, else Beam would pickle what the steps share with this process.
    sys.exit(importlib.import_module("benchmarks.swap").main(*map(int, sys.argv[1:])))
