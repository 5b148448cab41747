"""Engines are tried on the first real batch, and only then used."""

from __future__ import annotations

import gc
import io
import logging
import pickle
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.transforms.predictors.engines.stubs import DOUBLE, Clock, Double, Stub, batch
from transforms.errors import ContractError, EngineRefused, ModelError, PredictionError
from transforms.predictors.arrays import ArrayDecoder
from transforms.predictors.engines import EngineFunction, EngineWish, made_up_inputs
from transforms.predictors.feed import Feed
from transforms.predictors.local import LocalPredictor
from transforms.predictors.postprocess import with_postprocessing
from transforms.predictors.reports import new_reports
from transforms.records import FileBytes, FileRef

BATCH_SIZE = 8


def _loaded(
    engine: str, *stubs: Stub, function: Double | None = None, tolerance: float = 1e-4
) -> EngineFunction:
    function = function or Double()
    for stub in stubs:
        stub.clock = function.clock
    wish = EngineWish(engine, tolerance, BATCH_SIZE)
    made = EngineFunction(function, tuple(stubs), wish, clock=function.clock)
    made.load()
    return made


def _called(function: EngineFunction) -> EngineFunction:
    assert function.call(batch(1, 2))["y"].tolist() == [[2, 2], [4, 4]]
    return function


@pytest.mark.parametrize(
    ("seconds", "fastest"),
    [((3.0, 2.0, 1.0), "litert"), ((3.0, 1.0, 2.0), "openvino"), ((1.0, 2.0, 3.0), "tensorflow")],
)
def test_auto_takes_the_fastest(seconds: Sequence[float], fastest: str) -> None:
    reference = Double(seconds=seconds[0])
    stubs = Stub("openvino", seconds=seconds[1]), Stub("litert", seconds=seconds[2])

    report = _called(_loaded("auto", *stubs, function=reference)).report

    assert report is not None
    assert report.engine == fastest
    assert report.speedups == pytest.approx(
        {"openvino": seconds[0] / seconds[1], "litert": seconds[0] / seconds[2]}
    )


def test_only_the_chosen_engine_computes_after_the_trial() -> None:
    fast, slow, reference = Stub("litert", seconds=0.5), Stub("openvino"), Double()
    function = _called(_loaded("auto", fast, slow, function=reference))
    before = len(fast.sizes), len(slow.sizes), len(reference.sizes)

    function.call(batch(1, 2, 3))

    assert (len(fast.sizes), len(slow.sizes), len(reference.sizes)) == (before[0] + 1, *before[1:])


def test_a_wrong_engine_is_refused_with_its_difference() -> None:
    function = _loaded("openvino", Stub("openvino", error=0.01))

    with pytest.raises(EngineRefused, match=r"'y' differs from tensorflow's by 0.0025, .* is 0.0001"):
        function.call(batch(1, 2))
    with pytest.raises(EngineRefused):  # each time: nothing that it computes is ever used
        function.call(batch(1, 2))


def test_a_larger_tolerance_takes_it() -> None:
    function = _loaded("openvino", Stub("openvino", error=0.01), tolerance=0.01)

    assert function.call(batch(1, 2))["y"] == pytest.approx(np.array([[2.01, 2.01], [4.01, 4.01]]))


def test_auto_leaves_a_wrong_engine_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    wrong = Stub("openvino", seconds=0.1, error=0.01)

    report = _called(_loaded("auto", wrong, Stub("litert", seconds=0.5))).report

    assert report is not None
    assert report.engine == "litert"
    assert "openvino" not in report.speedups
    assert "differs" in report.refused["openvino"]
    assert "openvino refused: its output 'y' differs" in caplog.text


def test_an_engine_that_is_wrong_with_usual_batches_only_is_refused() -> None:
    function = _loaded("litert", Stub("litert", largest_batch=BATCH_SIZE - 1))

    with pytest.raises(EngineRefused, match=r"litert: more than 7 rows; pass --engine auto or tensorflow"):
        function.call(batch(1, 2))


def test_an_engine_that_cannot_convert_is_refused() -> None:
    with pytest.raises(EngineRefused, match="cannot convert signature 'double': no such thing"):
        _loaded("litert", Stub("litert", conversion_error=RuntimeError("no such thing\nat all")))


def test_auto_goes_on_without_an_engine_that_cannot_convert() -> None:
    broken = Stub("litert", conversion_error=RuntimeError("no such thing"))

    report = _called(_loaded("auto", broken, Stub("openvino", seconds=0.1))).report

    assert report is not None
    assert report.engine == "openvino"
    assert "no such thing" in report.refused["litert"]


def test_auto_without_engines_is_tensorflow() -> None:
    report = _called(_loaded("auto")).report

    assert report is not None
    assert (report.engine, report.speedups, report.refused) == ("tensorflow", {}, {})


def test_a_named_engine_is_used_though_it_is_slower() -> None:
    stub = Stub("openvino", seconds=4.0)

    report = _called(_loaded("openvino", stub)).report

    assert report is not None
    assert (report.engine, report.speedups) == ("openvino", {"openvino": 0.25})


def test_the_usual_batch_size_is_timed() -> None:
    stub, reference = Stub("litert"), Double()

    _called(_loaded("litert", stub, function=reference))

    assert set(reference.sizes) == {2, BATCH_SIZE}
    assert stub.sizes.count(BATCH_SIZE) == reference.sizes.count(BATCH_SIZE)


def test_made_up_batches_decide_nothing() -> None:
    function = _loaded("openvino", Stub("openvino", error=1.0))

    with made_up_inputs():
        _called(function)

    assert function.report is None
    with pytest.raises(EngineRefused):
        function.call(batch(1))


def test_a_batch_that_tensorflow_refuses_leaves_the_choice_to_the_next() -> None:
    function = _loaded("auto", Stub("litert", seconds=0.1))

    with pytest.raises(ValueError, match="negative"):
        function.call(batch(-1))

    assert function.report is None
    assert _called(function).report is not None


def test_threads_decide_once() -> None:
    function = _loaded("auto", Stub("litert", seconds=0.1))

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: function.call(batch(number))["y"][0, 0], range(40)))

    assert results == [2 * number for number in range(40)]
    assert function.new_reports() == [function.report]


def test_a_report_is_taken_once_from_inside_of_what_wraps_the_engine() -> None:
    feed = Feed(DOUBLE.inputs[0], "arrays", ArrayDecoder(DOUBLE.inputs[0]))
    predictor = LocalPredictor("model", "1", _called(_loaded("auto")), feed)
    wrapped = with_postprocessing(predictor, lambda outputs: outputs)

    assert [report.engine for report in new_reports(wrapped)] == ["tensorflow"]
    assert new_reports(wrapped) == []
    assert new_reports(LocalPredictor("model", "1", Double(), feed)) == []


def test_what_is_not_chosen_is_freed() -> None:
    class Watched(Double):
        def load(self) -> None:
            super().load()
            loaded.append(weakref.ref(self.loaded))

    loaded: list[Any] = []
    function = _called(_loaded("litert", Stub("litert"), function=Watched()))
    gc.collect()

    assert [found() for found in loaded] == [None]
    assert function.signature == DOUBLE


def test_the_choice_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    _called(_loaded("auto", Stub("litert", seconds=0.5)))

    assert "engine litert; litert 2.00 times as fast as tensorflow on batches of 8" in caplog.text


def test_a_refused_engine_stops_the_job_and_blames_no_item() -> None:
    feed = Feed(DOUBLE.inputs[0], "arrays", ArrayDecoder(DOUBLE.inputs[0]))
    function = _loaded("openvino", Stub("openvino", error=1.0))
    item = FileBytes(FileRef("a.npy"), _npy(np.ones(2, np.float32)))

    with pytest.raises(EngineRefused) as caught:
        LocalPredictor("model", "1", function, feed).predict([item, item])

    assert isinstance(caught.value, ContractError)
    assert isinstance(caught.value, ModelError)


def test_a_bad_item_is_told_in_the_functions_words() -> None:
    function = _called(_loaded("auto"))

    assert isinstance(function.item_error(ValueError("bad")), PredictionError)


def test_it_is_pickled_without_what_is_loaded() -> None:
    function = _called(_loaded("auto"))
    function.clock = Clock()

    again = pickle.loads(pickle.dumps(function))  # noqa: S301

    assert again.report is None
    again.load()
    _called(again)


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()
