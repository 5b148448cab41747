"""What a swap of models costs the items that flow meanwhile: the digits, 1,000 a second, in batches of 32.

python benchmarks/swap.py [SWAPS] [ITEMS_A_SECOND]

An item's wait is the time from its arrival, while its batch fills, until its record is made. An item's usual
wait is the median of all items that have the same place in their batches, before the first swap. Around each
swap, from the moment when the version is there until a second after its first record, no item may wait
longer than twice its usual wait and one batch: the time in which one arrives.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.local import local_runner
from transforms.predict import Predict
from transforms.predictors.open_model import open_model
from transforms.predictors.polling import open_newest
from transforms.predictors.versions import VersionedModel
from transforms.records import FileBytes, FileRef, Prediction

DIGITS = Path("examples/digits")
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


def report(name: str, waits: Sequence[Wait], usual: Sequence[float], rate: float) -> None:
    """Print a line of the table."""
    if not waits:
        return
    seconds = sorted(wait.seconds for wait in waits)
    late = sum(wait.seconds > 2 * usual[wait.place] + BATCH / rate for wait in waits)
    numbers = (statistics.median(seconds), seconds[int(len(seconds) * 0.99)], seconds[-1])
    shown = "  ".join(f"{1_000 * number:8.1f}" for number in numbers)
    print(f"{name:<12}{len(seconds):8,}  {shown}  {late:8,}")


def _phase(arrived: float, spans: Sequence[tuple[float, float]]) -> str:
    if arrived < spans[0][0]:
        return "before"
    return "during" if any(begin <= arrived < end for begin, end in spans) else "after"


def main(swaps: int = 5, rate: float = 1_000) -> None:
    """Print the waits before, during and after the swaps."""
    flow = Flow(rate)
    spans: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        shutil.copytree(DIGITS / "model", models / "1")
        swapping = threading.Thread(
            target=lambda: spans.extend(swap_models(models, flow, swaps)), daemon=True
        )
        swapping.start()
        run(models, flow)
        swapping.join()
    phases: dict[str, list[Wait]] = {"before": [], "during": [], "after": []}
    for wait in flow.waits[BATCH:]:
        phases[_phase(wait.arrived, spans)].append(wait)
    before = phases["before"]
    usual = [
        statistics.median(wait.seconds for wait in before if wait.place == place) for place in range(BATCH)
    ]
    print(f"{len(flow.waits) - BATCH:,} of {flow.arrived:,} items predicted on, {swaps} swaps; waits in ms")
    print(f"{'':<12}{'items':>8}  {'median':>8}  {'p99':>8}  {'longest':>8}  {'too long':>8}")
    for name, waits in phases.items():
        report(name, waits, usual, rate)
    print("versions:", dict(Counter(wait.version for wait in flow.waits)))


if __name__ == "__main__":
    import swap  # by its name, else Beam's pickler would copy what the pipeline shares with this process

    swap.main(*map(int, sys.argv[1:]))
