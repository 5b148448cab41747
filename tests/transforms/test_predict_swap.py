"""Models that are swapped while items flow: each item has one record, of the version that it names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from tests.transforms.versioned_models import INDEX, STEP, items, publish, saved, versioned, wait_until
from transforms import metric_table as metrics
from transforms.model_sharing import share
from transforms.predict import Predict
from transforms.predictors.polling import open_newest
from transforms.records import DeadLetter, FileBytes, FileRef, Prediction

BATCH = 32
SECONDS_A_BATCH = 0.032  # 1,000 items a second
POLL_SECONDS = 0.1
MOST_BATCHES = 3_000


@dataclass
class Flow:
    """Batches that come at a steady pace, and their records; the pipeline runs in this process."""

    sent: int = 0
    records: list[Prediction | DeadLetter] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def batches(self) -> Iterator[Sequence[FileBytes]]:
        while not self.ended.wait(SECONDS_A_BATCH) and self.sent < BATCH * MOST_BATCHES:
            numbers = range(self.sent, self.sent + BATCH)
            self.sent += BATCH
            yield [FileBytes(FileRef(f"{number}.bin"), b"x" * (number % 100)) for number in numbers]

    def versions(self) -> list[str]:
        return [str(record.model_version) for record in self.records]


FLOWS: dict[str, Flow] = {}


@pytest.fixture
def flow(request: pytest.FixtureRequest) -> Iterator[Flow]:
    """Yield a flow that steps find under the name of the test, since they are pickled."""
    FLOWS[request.node.name] = Flow()
    yield FLOWS[request.node.name]
    FLOWS.pop(request.node.name).ended.set()


def arrive(name: str) -> Iterator[Sequence[FileBytes]]:
    return FLOWS[name].batches()


def note(record: Prediction | DeadLetter, name: str) -> None:
    FLOWS[name].records.append(record)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    publish(tmp_path / "models", 1)
    return tmp_path / "models"


def run(models: Path, name: str) -> dict[str, int]:
    """Predict until the flow ends, and return what was counted."""
    predictor = open_newest(versioned(models), poll_seconds=POLL_SECONDS)
    pipeline = beam.Pipeline(runner=FnApiRunner())
    results = pipeline | beam.Create([name]) | beam.FlatMap(arrive) | Predict(predictor, BATCH)
    _ = results.main | "Predictions" >> beam.Map(note, name)
    _ = results.dead_letters | "DeadLetters" >> beam.Map(note, name)
    result = pipeline.run()
    result.wait_until_finish()
    return {counter.key.metric.name: counter.committed for counter in result.metrics().query()["counters"]}


def is_last(flow: Flow, version: int) -> bool:
    """Tell whether a version has predicted on the last batch."""
    return flow.versions()[-BATCH:] == [str(version)] * BATCH


def check(flow: Flow) -> None:
    """See that each item has one record, of the version that it names, and each batch of one version."""
    assert not [record for record in flow.records if isinstance(record, DeadLetter)]
    assert sorted(int(record.uri.removesuffix(".bin")) for record in flow.records if record.uri) == list(
        range(flow.sent)
    )
    in_batch: dict[int, set[str]] = {}
    for record in flow.records:
        assert isinstance(record, Prediction)
        number = int(record.uri.removesuffix(".bin"))
        assert record.outputs["sum"] == number % 100 + STEP * int(record.model_version)
        in_batch.setdefault(number // BATCH, set()).add(record.model_version)
    assert all(len(versions) == 1 for versions in in_batch.values())


def test_swaps_at_a_thousand_items_a_second_lose_and_fail_none(
    models: Path, flow: Flow, request: pytest.FixtureRequest
) -> None:
    def swap() -> None:
        try:
            for number in (2, 3, 4):
                wait_until(partial(is_last, flow, number - 1))
                publish(models, number)
            wait_until(partial(is_last, flow, 4))
        finally:
            flow.ended.set()

    with ThreadPoolExecutor() as threads:
        swapping = threads.submit(swap)
        counted = run(models, request.node.name)
        swapping.result()

    check(flow)
    assert sorted(set(flow.versions())) == ["1", "2", "3", "4"]
    assert flow.versions() == sorted(flow.versions(), key=int)
    assert counted[metrics.PREDICTIONS] == flow.sent
    assert (counted[metrics.VERSION_SWAPS], counted[metrics.MODEL_LOADS]) == (3, 1)
    assert metrics.VERSIONS_REFUSED not in counted


def test_broken_and_half_copied_versions_change_nothing(
    models: Path, flow: Flow, request: pytest.FixtureRequest
) -> None:
    def publish_others() -> None:
        try:
            wait_until(lambda: bool(flow.records))
            publish(models, 2, output="another")
            (publish(models, 3) / INDEX).unlink()
            seen = len(flow.records)
            wait_until(lambda: len(flow.records) > seen + 50 * BATCH)  # more than ten looks
            (models / "3" / INDEX).write_bytes((saved(3) / INDEX).read_bytes())
            wait_until(partial(is_last, flow, 3))
        finally:
            flow.ended.set()

    with ThreadPoolExecutor() as threads:
        publishing = threads.submit(publish_others)
        counted = run(models, request.node.name)
        publishing.result()

    check(flow)
    assert sorted(set(flow.versions())) == ["1", "3"]
    assert (counted[metrics.VERSION_SWAPS], counted[metrics.VERSIONS_REFUSED]) == (1, 1)


def test_many_threads_predict_with_one_version_each_while_it_is_swapped(models: Path) -> None:
    handle, predictor = share("process"), open_newest(versioned(models), poll_seconds=0.01)
    seen: Counter[str] = Counter()
    published = threading.Event()

    def predict(_: int) -> None:
        model, swapped = handle.acquire(predictor, BATCH), False
        while not swapped:
            done = published.is_set()
            records = model.answer(items(*[b"x"] * BATCH)).records
            versions = {record.model_version for record in records}
            assert len(versions) == 1
            for record in records:
                assert isinstance(record, Prediction)
                assert record.outputs["sum"] == 1 + STEP * int(record.model_version)
            seen.update(str(version) for version in versions)
            swapped = done and versions == {"4"}

    with ThreadPoolExecutor(4) as threads:
        predicting = [threads.submit(predict, number) for number in range(4)]
        for number in (2, 3, 4):
            wait_until(partial(seen.__contains__, str(number - 1)))
            publish(models, number)
        published.set()
        for future in predicting:
            future.result(60)
    assert sorted(seen) == ["1", "2", "3", "4"]


def test_nothing_looks_for_versions_when_the_pipeline_has_ended(
    models: Path, flow: Flow, request: pytest.FixtureRequest
) -> None:
    flow.ended.set()
    run(models, request.node.name)
    wait_until(lambda: "model versions" not in [thread.name for thread in threading.enumerate()])
