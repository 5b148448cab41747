"""From batches of files to predictions, as a step of a pipeline."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from tests.transforms import digits
from tests.transforms.pipelines import collect, collect_with_times, local_pipeline
from tests.transforms.toy_models import items
from tests.transforms.toy_predictors import Logging, Returning, Sizes, calls
from transforms import metric_table as metrics
from transforms.buckets import ARRIVAL_MSEC, ERROR
from transforms.errors import ContractError
from transforms.model_sharing import share
from transforms.predict import Predict, _PredictMany, predict_each
from transforms.predictors.base import Predictor, VersionedOutputs
from transforms.predictors.open_model import open_model
from transforms.records import DeadLetter, FileBytes, FileRef, Prediction, prediction_id, utc_now

ROOT = Path(__file__).parents[2]


def predict(
    predictor: Predictor, *batches: Sequence[FileBytes], warm_up: int = 1, in_flight: int = 1
) -> tuple[list[Prediction], list[DeadLetter]]:
    with local_pipeline() as pipeline:
        step = Predict(predictor, warm_up, batches_in_flight=in_flight)
        results = pipeline | beam.Create(batches, reshuffle=False) | step
        predictions, letters = collect(results.main), collect(results.dead_letters)
    return predictions, letters


def loaded(predictor: Sizes) -> Sizes:
    predictor.load()
    return predictor


class TestRecords:
    def test_each_item_has_a_prediction_with_all_that_identifies_it(self) -> None:
        ref = FileRef("a.png", generation=5, size=3, attributes={"label": 3})
        (record,), letters = predict(Sizes(), [FileBytes(ref, b"123")])
        assert record == Prediction(
            prediction_id=prediction_id(ref, "1", "sizes"),
            uri="a.png",
            generation=5,
            model="sizes of files",
            model_version="1",
            signature="sizes",
            outputs={"size": np.int64(3)},
            attributes={"label": 3},
            predicted_at=record.predicted_at,
        )
        assert timedelta(0) <= utc_now() - record.predicted_at < timedelta(minutes=1)
        assert letters == []

    def test_items_keep_their_order(self) -> None:
        batches = [items(*[b"x" * (10 * batch + size) for size in range(10)]) for batch in range(3)]
        predictions, _ = predict(Sizes(), *batches)
        assert [record.outputs["size"] for record in predictions] == list(range(30))

    def test_an_item_that_has_no_outputs_is_a_dead_letter(self) -> None:
        predictions, letters = predict(Sizes(), items(b"1", b"undecodable", b"333", b"overloaded"))
        assert [record.uri for record in predictions] == ["0.bin", "2.bin"]
        assert [
            (letter.uri, letter.stage, letter.error, letter.message, letter.retryable) for letter in letters
        ] == [
            ("1.bin", "decode", "DecodeError", "no image", False),
            ("3.bin", "predict", "ModelUnavailable", "try again", True),
        ]
        for letter in letters:
            assert letter.prediction_id == prediction_id(FileRef(str(letter.uri)), "1", "sizes")
            assert letter.model_version == "1"

    def test_an_item_on_which_the_predictor_raises_costs_itself_only(self) -> None:
        contents = [b"x" * size for size in range(32)]
        contents[13] = b"poison"
        predictions, (letter,) = predict(Sizes(), items(*contents))
        assert [record.outputs["size"] for record in predictions] == [*range(13), *range(14, 32)]
        assert (letter.uri, letter.stage, letter.error) == ("13.bin", "predict", "ZeroDivisionError")
        assert letter.message == "there is poison"

    def test_a_batch_of_items_on_which_it_raises_only(self) -> None:
        predictions, letters = predict(Sizes(), items(b"poison", b"poison"), items(b"poison"))
        assert predictions == []
        assert [letter.error for letter in letters] == ["ZeroDivisionError"] * 3

    def test_records_keep_their_time_and_window(self) -> None:
        with local_pipeline() as pipeline:
            results = (
                pipeline
                | beam.Create([5, 15])
                | beam.Map(lambda second: TimestampedValue(items(b"1" * second, b"poison"), second))
                | beam.WindowInto(FixedWindows(10))
                | Predict(Sizes())
            )
            found = collect_with_times(results.main), collect_with_times(results.dead_letters)
        for records in found:
            assert sorted((time.seconds(), window.start.seconds()) for _, time, window in records) == [
                (5, 0),
                (15, 10),
            ]

    def test_an_item_of_another_version_names_it(self) -> None:
        outcomes = [VersionedOutputs({"size": np.int64(1)}, "8"), {"size": np.int64(2)}]
        (newer, usual), _ = predict(Returning(returned=outcomes), items(b"1", b"22"))
        assert [(record.model_version, record.outputs["size"]) for record in (newer, usual)] == [
            ("8", 1),
            ("1", 2),
        ]
        assert newer.prediction_id == prediction_id(FileRef("0.bin"), "8", "sizes")


@dataclass
class Meeting(Sizes):
    """Answers when as many batches as are expected are, or have been, under way at the same time."""

    expected: int = 1

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Any]:
        with MEETING:
            ARRIVED["now"] += 1
            ARRIVED["most"] = max(ARRIVED["most"], ARRIVED["now"])
            MEETING.notify_all()
            assert MEETING.wait_for(lambda: ARRIVED["most"] >= self.expected, timeout=30)
            ARRIVED["now"] -= 1
        return super().predict(batch)


MEETING = threading.Condition()
ARRIVED = {"now": 0, "most": 0}


class TestBatchesInFlight:
    BATCHES = tuple(items(*[b"x" * (10 * batch + size) for size in range(1, 4)]) for batch in range(12))

    @pytest.fixture(autouse=True)
    def _nobody_is_there(self) -> None:
        ARRIVED.update(now=0, most=0)

    def test_each_item_has_its_record_and_batches_keep_their_order(self) -> None:
        predictions, letters = predict(Sizes(), *self.BATCHES, in_flight=3)
        assert letters == []
        found = [record.outputs["size"] for record in predictions]
        assert sorted(found) == [10 * batch + size for batch in range(12) for size in range(1, 4)]
        for start in range(0, len(found), 3):
            assert found[start : start + 3] == sorted(found[start : start + 3])
        assert [record.uri for record in predictions] == ["0.bin", "1.bin", "2.bin"] * 12

    @pytest.mark.parametrize("limit", [2, 5])
    def test_as_many_as_are_allowed_are_under_way_and_no_more(self, limit: int) -> None:
        predictions, _ = predict(Meeting(expected=limit), *self.BATCHES, in_flight=limit)
        assert len(predictions) == 36
        assert ARRIVED["most"] == limit

    def test_fewer_batches_than_are_allowed_are_not_waited_for(self) -> None:
        predictions, _ = predict(Meeting(expected=2), *self.BATCHES[:2], in_flight=100)
        assert len(predictions) == 6

    def test_without_batches_there_is_nothing(self) -> None:
        assert predict(Sizes(), in_flight=3) == ([], [])

    def test_records_keep_their_time_and_window(self) -> None:
        with local_pipeline() as pipeline:
            results = (
                pipeline
                | beam.Create([5, 15, 25, 35, 45])
                | beam.Map(lambda second: TimestampedValue(items(b"1" * second, b"poison"), second))
                | beam.WindowInto(FixedWindows(10))
                | Predict(Sizes(), batches_in_flight=3)
            )
            found = collect_with_times(results.main), collect_with_times(results.dead_letters)
        for records in found:
            assert sorted((time.seconds(), window.start.seconds()) for _, time, window in records) == [
                (second, second - 5) for second in (5, 15, 25, 35, 45)
            ]
        assert {(record.outputs["size"], time.seconds()) for record, time, _ in found[0]} == {
            (second, second) for second in (5, 15, 25, 35, 45)
        }

    def test_what_one_batch_breaks_fails_the_pipeline(self) -> None:
        with pytest.raises(Exception, match="Returning returned 1 outcomes for a batch of 3"):
            predict(Returning(returned=[{"size": np.int64(1)}]), *self.BATCHES, in_flight=3)

    def test_what_is_left_of_a_bundle_that_failed_does_not_get_into_the_next(self) -> None:
        step = Predict(Sizes(), batches_in_flight=3)
        function = _PredictMany(3, None, step.predictor, share("process"), 1)
        started = list(function.process(self.BATCHES[0], Timestamp(1), GlobalWindow()))
        function.start_bundle()  # without finish_bundle(), since something else has failed
        started += function.process(self.BATCHES[1], Timestamp(2), GlobalWindow())
        finished = list(function.finish_bundle())
        function.teardown()
        assert started == []
        assert [element.value.outputs["size"] for element in finished] == [11, 12, 13]

    def test_all_is_counted(self) -> None:
        pipeline = beam.Pipeline(runner=FnApiRunner())
        batches = [items(b"1", b"undecodable", b"poison"), items(b"1", b"22"), items(b"1", b"22")]
        _ = pipeline | beam.Create(batches, reshuffle=False) | Predict(Sizes(), batches_in_flight=2)
        expected = {
            metrics.PREDICTIONS: 5,
            metrics.BATCH_FILES: 7,
            f"{metrics.BATCH_SIZE}/2": 2,
            f"{metrics.BATCH_SIZE}/3": 1,
            f"{metrics.DEAD_LETTERS}/decode/DecodeError": 1,
            f"{metrics.DEAD_LETTERS}/predict/ZeroDivisionError": 1,
            metrics.MODEL_LOADS: 1,
        }
        assert counted(pipeline.run()).items() >= expected.items()

    @pytest.mark.parametrize(("limit", "most"), [(1, 1), (40, 2)])
    def test_no_more_are_under_way_than_their_bytes_allow(self, limit: int, most: int) -> None:
        """Each has 29 bytes; one may be larger than the limit, and one may go beyond it."""
        batches = [items(b"1" * 9, b"2" * 20)] * 12
        with local_pipeline() as pipeline:
            step = Predict(Meeting(expected=most), batches_in_flight=5, bytes_in_flight=limit)
            results = pipeline | beam.Create(batches, reshuffle=False) | step
            found = collect(results.main)
        assert len(found) == 24
        assert ARRIVED["most"] == most

    @pytest.mark.parametrize("number", [0, -1])
    def test_no_bytes_at_all_are_refused(self, number: int) -> None:
        with pytest.raises(ValueError, match=f"bytes_in_flight is {number}; it must be at least 1, or None"):
            Predict(Sizes(), bytes_in_flight=number)

    @pytest.mark.parametrize("number", [0, -1])
    def test_none_at_all_is_refused(self, number: int) -> None:
        with pytest.raises(ValueError, match=f"batches_in_flight is {number}; it must be at least 1"):
            Predict(Sizes(), batches_in_flight=number)


class TestBrokenPromises:
    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_another_number_of_outcomes_fails_the_pipeline(self, number: int) -> None:
        predictor = Returning(returned=[{"size": np.int64(1)}] * number)
        with pytest.raises(Exception, match=f"Returning returned {number} outcomes for a batch of 2"):
            predict(predictor, items(b"1", b"2"))

    def test_outputs_of_another_type_fail_the_pipeline(self) -> None:
        with pytest.raises(Exception, match="its signature says int64 of rank 0"):
            predict(Returning(returned=[{"size": 1.5}]), items(b"1"))

    @pytest.mark.parametrize("returned", [None, [None], ["text"], [np.zeros(3)]], ids=str)
    def test_what_are_no_outcomes_at_all_fails_the_pipeline(self, returned: Any) -> None:
        with pytest.raises(Exception, match="Returning returned"):
            predict(Returning(returned=returned), items(b"1"))

    def test_a_model_that_cannot_be_loaded_fails_the_pipeline(self, tmp_path: Path) -> None:
        model = shutil.copytree(digits.MODEL, tmp_path / "model")
        predictor = open_model(str(model), "from_bytes")
        shutil.rmtree(model)  # gone, when the worker loads it
        with pytest.raises(Exception, match=f"--model {model}"):
            predict(predictor, items(b"1"))

    def test_a_model_that_has_changed_since_the_start_fails_the_pipeline(self, tmp_path: Path) -> None:
        model = shutil.copytree(digits.MODEL, tmp_path / "model")
        predictor = open_model(str(model), "from_bytes")
        with (model / "variables" / "variables.index").open("ab") as index:
            index.write(b"x")
        with pytest.raises(Exception, match="has changed since the start"):
            predict(predictor, items(b"1"))


class TestPredictEach:
    def test_it_works_without_beam(self) -> None:
        outcomes = predict_each(loaded(Sizes()), items(b"1", b"poison", b"333"))
        assert [type(outcome).__name__ for outcome in outcomes] == ["dict", "ZeroDivisionError", "dict"]

    def test_a_broken_promise_is_no_items_fault(self) -> None:
        with pytest.raises(ContractError):
            predict_each(loaded(Returning(returned=[])), items(b"1"))

    def test_a_promise_that_is_broken_during_the_search_is_none_either(self) -> None:
        class Forgetful(Sizes):
            def predict(self, batch: Sequence[FileBytes]) -> Any:
                return super().predict(batch)[1:]

        with pytest.raises(ContractError):
            predict_each(loaded(Forgetful()), items(b"1", b"2", b"3", b"poison"))


class TestLoading:
    BATCHES = tuple(items(b"1", b"22", b"333") for _ in range(40))

    def test_the_model_is_loaded_and_warmed_up_before_its_first_batch(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        predict(Logging(log=str(log)), *self.BATCHES[:2], warm_up=7)
        assert [(call.name, call.size) for call in calls(log)] == [
            ("load", 0),
            ("warm_up", 7),
            ("predict", 3),
            ("predict", 3),
        ]

    def test_the_predictor_that_was_given_stays_unloaded(self, tmp_path: Path) -> None:
        predictor = Logging(log=str(tmp_path / "log"))
        predict(predictor, *self.BATCHES[:1])
        assert not predictor.is_loaded

    def test_it_is_loaded_once_for_all_threads_of_a_process(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        count = self.run(Logging(log=str(log)), "multi_threading", 4)
        assert count == 3 * len(self.BATCHES)
        assert [call.name for call in calls(log)].count("load") == 1
        assert [call.name for call in calls(log)].count("warm_up") == 1
        predicted = [call for call in calls(log) if call.name == "predict"]
        assert len({call.thread for call in predicted}) > 1
        assert {call.process for call in calls(log)} == {calls(log)[0].process}

    def test_it_is_loaded_once_in_each_of_several_processes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the workers import the predictor
        log = tmp_path / "log"
        count = self.run(Logging(log=str(log)), "multi_processing", 2)
        assert count == 3 * len(self.BATCHES)
        processes = {call.process for call in calls(log) if call.name == "predict"}
        assert len(processes) == 2
        loads = [call.process for call in calls(log) if call.name == "load"]
        assert sorted(loads) == sorted(processes)

    def run(self, predictor: Logging, mode: str, workers: int) -> int:
        """Predict on all batches, spread over workers; return the number of predictions that were counted."""
        options = PipelineOptions(direct_running_mode=mode, direct_num_workers=workers)
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
        _ = pipeline | beam.Create(self.BATCHES, reshuffle=False) | beam.Reshuffle() | Predict(predictor)
        result = pipeline.run()
        result.wait_until_finish()
        return counted(result)[metrics.PREDICTIONS]


def counted(result: Any) -> dict[str, int]:
    return {counter.key.metric.name: counter.committed for counter in result.metrics().query()["counters"]}


def test_batches_predictions_dead_letters_and_loads_are_counted() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    batches = [items(b"1", b"undecodable", b"poison"), items(b"1", b"22"), items(b"1", b"22")]
    _ = pipeline | beam.Create(batches, reshuffle=False) | Predict(Sizes(), warm_up_batch_size=4)
    found = counted(pipeline.run())
    found.pop(metrics.PREDICT_MSEC_SUM)
    latencies = [found.pop(name) for name in list(found) if name.startswith(metrics.PREDICT_MSEC_LE)]
    assert max(latencies) == 3
    assert found == {
        metrics.PREDICTIONS: 5,
        metrics.BATCH_FILES: 7,
        metrics.BATCH_PLACES: 12,
        f"{metrics.BATCH_SIZE}/2": 2,
        f"{metrics.BATCH_SIZE}/3": 1,
        f"{metrics.DEAD_LETTERS}/decode/DecodeError": 1,
        f"{metrics.DEAD_LETTERS}/predict/ZeroDivisionError": 1,
        metrics.MODEL_LOADS: 1,
    }


@pytest.mark.parametrize("batches_in_flight", [1, 3])
def test_the_time_from_arrival_to_prediction_is_counted_where_it_is_known(batches_in_flight: int) -> None:
    known, unknown, poison = items(b"1", b"22", b"poison")
    arrived = time.time() - 100
    known, poison = (replace(item, ref=replace(item.ref, arrived=arrived)) for item in (known, poison))
    pipeline = beam.Pipeline(runner=FnApiRunner())
    step = Predict(Sizes(), batches_in_flight=batches_in_flight)
    _ = pipeline | beam.Create([[known, unknown, poison]], reshuffle=False) | step
    prefix = f"{metrics.ARRIVAL_MSEC_LE}/"
    numbers = counted(pipeline.run())
    found = {name.removeprefix(prefix): numbers[name] for name in numbers if name.startswith(prefix)}
    assert found["inf"] == 1
    assert ARRIVAL_MSEC.percentile(found, 0.5) == pytest.approx(100_000, rel=ERROR + 0.1)


def test_a_saved_model_predicts_on_real_images_and_one_corrupt_one(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"this is no image")
    batch = digits.with_bytes(*digits.IMAGES[:31], bad)
    predictions, (letter,) = predict(open_model(digits.MODEL, "from_bytes"), batch, warm_up=32)
    assert [record.uri for record in predictions] == digits.IMAGES[:31]
    assert (letter.uri, letter.stage, letter.error) == (str(bad), "decode", "DecodeError")
    for record in predictions:
        assert record.outputs["scores"].argmax() == record.outputs["label"]
        assert record.model == digits.MODEL
