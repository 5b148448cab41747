"""Who shares a loaded model: the threads of a process, or the processes of a machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.utils.multi_process_shared import MultiProcessShared

from tests.transforms.versioned_models import STEP, items, publish, versioned, wait_until
from transforms import metric_table as metrics
from transforms.errors import ContractError, DecodeError, ModelError
from transforms.model_sharing import Answer, Model, ModelSharing, _Elsewhere, share
from transforms.predict import Predict
from transforms.predictors.base import InputKind, Predictor, Signature, TensorSpec
from transforms.predictors.polling import open_newest
from transforms.predictors.serving_model import Loaded, Swapped
from transforms.records import DeadLetter, FileBytes, FileRef, Prediction

ROOT = Path(__file__).parents[2]
SIZES = Signature(
    "sizes", (TensorSpec("content", "string", (None,)),), (TensorSpec("size", "int64", (None,)),)
)


class UnpicklableError(Exception):
    """An error as models raise them: with something in it that stays in its process."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


@dataclass
class Noting:
    """Predict the size of each item; each load leaves the id of its process in a file.

    Contents are orders: `bad` has a dead letter, `poison` fails a batch, `promise` breaks one, `kill` ends
    the process, once.
    """

    log: str
    model: str = "sizes"
    model_version: str = "1"
    signature: Signature = SIZES
    input_kind: InputKind = "bytes"
    fails: bool = False

    def load(self) -> None:
        if self.fails:
            raise ModelError("it cannot be loaded")
        note(self.log)

    def warm_up(self, batch_size: int) -> None:
        """Nothing to warm up."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Any]:
        contents = [item.content for item in batch]
        if b"poison" in contents:
            raise UnpicklableError("poisoned")
        if b"promise" in contents:
            return []
        if b"kill" in contents and len(noted(self.log)) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return [
            DecodeError("bad") if content == b"bad" else {"size": np.int64(len(content or b""))}
            for content in contents
        ]


def note(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{os.getpid()}\n".encode())  # in one piece, beside those of other processes
    finally:
        os.close(file)


def noted(log: str) -> list[str]:
    path = Path(log)
    return path.read_text().split() if path.exists() else []


class WithProcess(beam.DoFn):
    """Note the process that a batch is predicted on in, and wait for another to join."""

    def __init__(self, log: str) -> None:
        self._log = log

    def process(self, batch: Sequence[FileBytes]) -> Iterator[Sequence[FileBytes]]:
        note(self._log)
        wait_until(lambda: len(set(noted(self._log))) > 1)
        yield batch


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(tmp_path / "loads")


@pytest.fixture(autouse=True)
def _workers_import_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize(("sharing", "loads"), [("process", 2), ("machine", 1)])
def test_two_worker_processes_load_once_each_or_once_together(
    tmp_path: Path, log: str, sharing: ModelSharing, loads: int
) -> None:
    workers = str(tmp_path / "workers")
    options = PipelineOptions(direct_running_mode="multi_processing", direct_num_workers=2)
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    batches = [items(b"1", b"22", b"bad", b"333") for _ in range(40)]
    _ = (
        pipeline
        | beam.Create(batches, reshuffle=False)
        | beam.Reshuffle()
        | beam.ParDo(WithProcess(workers))
        | Predict(Noting(log), sharing=sharing)
    )
    result = pipeline.run()
    result.wait_until_finish()

    found: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        found[counter.key.metric.name] += counter.committed
    assert len(set(noted(workers))) == 2
    assert len(set(noted(log))) == len(noted(log)) == found[metrics.MODEL_LOADS] == loads
    assert found[metrics.PREDICTIONS] == 120
    assert found[f"{metrics.DEAD_LETTERS}/decode/DecodeError"] == 40
    if sharing == "machine":
        assert not set(noted(log)) & set(noted(workers))


def test_an_unknown_sharing_is_refused(log: str) -> None:
    with pytest.raises(ValueError, match="sharing is 'planet'; it must be one of process, machine"):
        Predict(Noting(log), sharing="planet")  # type: ignore[arg-type]


def acquired(predictor: Predictor, sharing: ModelSharing) -> Model:
    return share(sharing).acquire(predictor, 4)


def outcomes(answer: Answer) -> list[str]:
    return [
        f"{record.outputs['size']}" if isinstance(record, Prediction) else f"{record.stage}/{record.error}"
        for record in answer.records
    ]


@pytest.mark.parametrize("sharing", ["process", "machine"])
class TestAnswers:
    def test_outputs_and_errors_arrive_as_records(self, log: str, sharing: ModelSharing) -> None:
        batch = items(b"1", b"bad", b"333", b"poison")
        batch[0] = FileBytes(FileRef("a.png", 7, 1, {"label": [1, "x"]}), b"1")
        answer = acquired(Noting(log), sharing).answer(batch)
        assert outcomes(answer) == ["1", "decode/DecodeError", "3", "predict/UnpicklableError"]
        first, *_, last = answer.records
        assert isinstance(first, Prediction)
        assert (first.uri, first.generation, first.attributes) == ("a.png", 7, {"label": [1, "x"]})
        assert (first.model, first.model_version, first.signature) == ("sizes", "1", "sizes")
        assert first.outputs["size"].dtype == np.int64
        assert isinstance(last, DeadLetter)
        assert last.message == "poisoned"

    def test_a_load_is_told_once(self, log: str, sharing: ModelSharing) -> None:
        model = acquired(Noting(log), sharing)
        (event,) = model.answer(items(b"1")).events
        assert isinstance(event, Loaded)
        assert model.answer(items(b"1")).events == ()

    def test_a_broken_promise_is_no_items_fault(self, log: str, sharing: ModelSharing) -> None:
        model = acquired(Noting(log), sharing)
        with pytest.raises(ContractError, match="Noting returned 0 outcomes for a batch of 1"):
            model.answer(items(b"promise"))
        assert outcomes(model.answer(items(b"1"))) == ["1"]

    def test_a_model_that_cannot_be_loaded_says_so(self, log: str, sharing: ModelSharing) -> None:
        with pytest.raises(ModelError, match="it cannot be loaded"):
            acquired(Noting(log, fails=True), sharing)

    def test_newer_versions_are_swapped_in(self, tmp_path: Path, sharing: ModelSharing) -> None:
        publish(tmp_path / "models", 1)
        model = acquired(open_newest(versioned(tmp_path / "models"), poll_seconds=0.1), sharing)
        publish(tmp_path / "models", 2)
        seen: list[tuple[str, int]] = []
        events: list[Any] = []

        def swapped() -> bool:
            answer = model.answer(items(b"1"))
            events.extend(answer.events)
            (record,) = answer.records
            assert isinstance(record, Prediction)
            seen.append((record.model_version, int(record.outputs["sum"])))
            return record.model_version == "2"

        wait_until(swapped)
        assert set(seen) == {("1", STEP + 1), ("2", 2 * STEP + 1)}
        assert [type(event) for event in events] == [Loaded, Swapped]


def test_all_threads_share_one_model_of_a_machine(log: str) -> None:
    handle, found = share("machine"), []

    def ask() -> None:
        found.extend(outcomes(handle.acquire(Noting(log), 4).answer(items(b"1", b"22"))))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["1"] * 8 + ["2"] * 8
    assert len(noted(log)) == 1


def test_the_process_of_a_machines_model_ends_with_the_last_who_needs_it(log: str) -> None:
    others = {child.pid for child in multiprocessing.active_children()}
    users = [_Elsewhere("beam-predict-test", Noting(log), 4) for _ in range(2)]
    (pid,) = map(int, noted(log))
    assert pid in {child.pid for child in multiprocessing.active_children()} - others
    users.pop()
    assert outcomes(users[0].answer(items(b"1"))) == ["1"]
    users.clear()
    wait_until(lambda: pid not in {child.pid for child in multiprocessing.active_children()})


def test_who_comes_just_when_the_last_one_leaves_is_given_another_process(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [_Elsewhere("beam-predict-test", Noting(log), 4)]
    acquire = MultiProcessShared.acquire

    def acquire_as_the_last_one_leaves(shared: MultiProcessShared[Any]) -> Any:
        host = acquire(shared)
        users.clear()
        return host

    monkeypatch.setattr(MultiProcessShared, "acquire", acquire_as_the_last_one_leaves)
    model = _Elsewhere("beam-predict-test", Noting(log), 4)
    assert outcomes(model.answer(items(b"22"))) == ["2"]
    assert len(set(noted(log))) == 2


class Ending:
    """What Beam's proxy is for an object that is deleted already, in a process that has not ended yet."""

    enter = None


def test_a_process_that_is_ending_is_not_taken(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Ending()]
    acquire = MultiProcessShared.acquire
    monkeypatch.setattr(
        MultiProcessShared, "acquire", lambda shared: found.pop() if found else acquire(shared)
    )
    assert outcomes(_Elsewhere("beam-predict-test", Noting(log), 4).answer(items(b"22"))) == ["2"]
    assert found == []


def test_processes_that_all_end_are_not_asked_for_ever(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MultiProcessShared, "acquire", lambda _: Ending())
    with pytest.raises(EOFError, match="it is ending"):
        _Elsewhere("beam-predict-test", Noting(log), 4)


def test_a_process_whose_model_cannot_be_loaded_ends(log: str) -> None:
    others = set(multiprocessing.active_children())
    with pytest.raises(ModelError, match="it cannot be loaded"):
        _Elsewhere("beam-predict-test", Noting(log, fails=True), 4)
    wait_until(lambda: not set(multiprocessing.active_children()) - others)


def test_another_process_takes_over_when_the_one_with_the_model_is_killed(log: str) -> None:
    model = acquired(Noting(log), "machine")
    assert outcomes(model.answer(items(b"1"))) == ["1"]
    assert outcomes(model.answer(items(b"kill", b"22"))) == ["4", "2"]
    assert outcomes(model.answer(items(b"333"))) == ["3"]
    assert len(set(noted(log))) == 2
