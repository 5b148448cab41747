"""Functions behind a predictor: what they change, and what it costs when they fail."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from pipeline.summary import Counts
from transforms import BatchFiles, Predict, ReadFiles, arrow_schema, open_model
from transforms.errors import DecodeError, ModelError, PostprocessError
from transforms.predictors.base import (
    InputKind,
    Outcome,
    Predictor,
    Signature,
    TensorSpec,
    VersionedOutputs,
)
from transforms.predictors.contract import predict_checked
from transforms.predictors.postprocess import PostprocessedPredictor, with_postprocessing
from transforms.predictors.top_classes import with_top_classes
from transforms.records import DeadLetter, FileBytes, FileRef, Outputs, Prediction

ROOT = Path(__file__).parents[3]
MODEL = str(ROOT / "examples/digits/model")
IMAGES = sorted((ROOT / "examples/digits/images").glob("*.png"))[:8]
BATCH = [FileBytes(FileRef(str(path)), path.read_bytes()) for path in IMAGES]

MARGIN = TensorSpec("margin", "float32", (None,))


@pytest.fixture(scope="module")
def digits() -> Predictor:
    predictor = open_model(MODEL, "from_bytes")
    predictor.load()
    return predictor


def _add_margin(outputs: Outputs) -> Outputs:
    second, first = sorted(outputs["scores"])[-2:]
    return {**outputs, "margin": float(first - second)}


def _with_margin(predictor: Predictor) -> PostprocessedPredictor:
    return with_postprocessing(predictor, _add_margin, (*predictor.signature.outputs, MARGIN))


def _outcomes(predictor: Predictor, batch: Sequence[FileBytes] = BATCH) -> list[Any]:
    return list(predict_checked(predictor, batch))


def test_a_function_adds_an_output_that_every_schema_has(digits: Predictor) -> None:
    predictor = _with_margin(digits)

    outcomes = _outcomes(predictor)

    assert [spec.name for spec in predictor.signature.outputs] == ["label", "margin", "probability", "scores"]
    for before, after in zip(digits.predict(BATCH), outcomes, strict=True):
        assert isinstance(before, Mapping)
        first, second = np.sort(before["scores"])[[-1, -2]]
        assert after["margin"] == pytest.approx(first - second)
        assert after["label"] == before["label"]
    assert "margin: float" in str(arrow_schema(Prediction, predictor.signature).field("outputs").type)


def test_a_function_may_leave_outputs_out(digits: Predictor) -> None:
    label = TensorSpec("digit", "string", (None,))

    predictor = with_postprocessing(digits, lambda outputs: {"digit": str(outputs["label"])}, (label,))

    assert [outcome["digit"] for outcome in _outcomes(predictor)] == [
        str(outcome["label"]) for outcome in _outcomes(digits)
    ]


def test_without_new_outputs_the_signature_stays(digits: Predictor) -> None:
    predictor = with_postprocessing(digits, lambda outputs: {**outputs, "label": outputs["label"] + 1})

    assert predictor.signature == digits.signature
    assert [outcome["label"] - 1 for outcome in _outcomes(predictor)] == [
        outcome["label"] for outcome in _outcomes(digits)
    ]


def test_all_else_is_the_predictors(digits: Predictor) -> None:
    predictor = _with_margin(digits)

    assert predictor.model == digits.model
    assert predictor.model_version == digits.model_version
    assert predictor.input_kind == digits.input_kind == "bytes"
    assert predictor.signature.inputs == digits.signature.inputs
    assert predictor.signature.name == digits.signature.name


def test_an_exception_costs_only_its_item(digits: Predictor) -> None:
    (odd,) = {int(outcome["label"]) for outcome in _outcomes(digits, BATCH[2:3])}

    def fail_on_odd(outputs: Outputs) -> Outputs:
        return {**outputs, "margin": 1 / (outputs["label"].item() - odd)}

    predictor = with_postprocessing(digits, fail_on_odd, (*digits.signature.outputs, MARGIN))
    broken = FileBytes(FileRef("broken.png"), b"broken")
    outcomes = _outcomes(predictor, [*BATCH, broken])

    labels = [int(outcome["label"]) for outcome in _outcomes(digits)]
    for label, outcome in zip(labels, outcomes, strict=False):
        assert isinstance(outcome, PostprocessError) == (label == odd)
    assert isinstance(outcomes[-1], DecodeError), "what the model refuses never reaches the function"
    letter = DeadLetter.of(outcomes[2])
    assert (letter.stage, letter.error, letter.retryable) == ("postprocess", "PostprocessError", False)
    assert letter.message == "ZeroDivisionError: division by zero"


def test_the_functions_own_message_is_told_as_it_is(digits: Predictor) -> None:
    def refuse(_: Outputs) -> Outputs:
        raise PostprocessError("no digit is worth it")

    assert {str(outcome) for outcome in _outcomes(with_postprocessing(digits, refuse))} == {
        "no digit is worth it"
    }


class Unreadable:
    """Raises what nobody expects."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("nobody may look at this")


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (lambda outputs: outputs, "there are the outputs"),
        (lambda outputs: {**outputs, "margin": 1.0, "more": 1}, "there are the outputs"),
        (lambda outputs: {**outputs, "margin": "wide"}, "the output margin: float32 [?] cannot take 'wide'"),
        (lambda outputs: {**outputs, "margin": [1.0, 2.0]}, "shape [2]"),
        (lambda outputs: {**outputs, "margin": 1.0, "scores": outputs["scores"][:9]}, "shape [9]"),
        (lambda outputs: {**outputs, "margin": 1e300}, "does not fit into float32"),
        (lambda outputs: {**outputs, "margin": 1.0, 7: 1}, "there are the outputs [7, 'label'"),
        (lambda outputs: {**outputs, "margin": Unreadable()}, "nobody may look at this"),
        (lambda outputs: None, "None is no mapping"),
        (list, "is no mapping"),
    ],
)
def test_what_was_not_announced_costs_only_its_item(
    digits: Predictor, returned: Callable[[Outputs], Any], problem: str
) -> None:
    predictor = with_postprocessing(digits, returned, (*digits.signature.outputs, MARGIN))

    outcomes = _outcomes(predictor)

    assert all(isinstance(outcome, PostprocessError) for outcome in outcomes)
    assert problem in str(outcomes[0])


def test_two_outputs_of_one_name_are_an_error_at_launch(digits: Predictor) -> None:
    with pytest.raises(ModelError, match="two outputs 'top_names'"):
        with_top_classes(with_top_classes(digits, "abcdefghij"), "abcdefghij", scores_output="scores")


SIZE = Signature("f", (), (TensorSpec("size", "int64", (None,)),))


@dataclass
class Heavy:
    """A predictor that cannot be pickled any more when it is loaded."""

    model: str = "heavy"
    model_version: str = "1"
    signature: Signature = SIZE
    input_kind: InputKind = "bytes"
    handle: Any = None

    def load(self) -> None:
        self.handle = lambda item: len(item.content)

    def warm_up(self, batch_size: int) -> None:
        assert self.handle is not None

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        return [{"size": np.int64(self.handle(item))} for item in batch]


def test_loading_a_copy_leaves_the_original_light() -> None:
    original = with_postprocessing(Heavy(), _unchanged)

    loaded = copy.copy(original)
    loaded.load()
    loaded.warm_up(1)

    assert _outcomes(loaded, [FileBytes(FileRef("a"), b"four")]) == [{"size": 4}]
    assert pickle.loads(pickle.dumps(original)) == original  # noqa: S301


def _unchanged(outputs: Outputs) -> Outputs:
    return outputs


def test_outputs_of_another_version_are_changed_and_stay_of_that_version() -> None:
    def double(outputs: Outputs) -> Outputs:
        if outputs["size"] == 3:
            raise ValueError("not a three")
        return {"size": outputs["size"] * 2}

    class Updated(Heavy):
        def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
            return [VersionedOutputs({"size": np.int64(len(item.content or b""))}, "8") for item in batch]

    predictor = with_postprocessing(Updated(), double)
    batch = [FileBytes(FileRef(name), b"x" * size) for name, size in (("two", 2), ("three", 3))]
    changed, refused = _outcomes(predictor, batch)
    assert changed == VersionedOutputs({"size": np.int64(4)}, "8")
    assert isinstance(refused, PostprocessError)


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_the_pipeline_loads_it_once_per_process_and_makes_dead_letters(mode: str) -> None:
    predictor = with_postprocessing(open_model(MODEL, "from_bytes"), _refuse_ones)
    options = PipelineOptions(direct_num_workers=2, direct_running_mode=mode)

    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        files = pipeline | beam.Create([FileRef(str(path)) for path in IMAGES])
        contents = files | beam.Reshuffle() | BatchFiles(1) | ReadFiles()
        predicted = contents.main | Predict(predictor)
        assert_that(predicted.main, _has_no_ones, label="predictions")
        assert_that(predicted.dead_letters, _are_of_postprocessing, label="dead letters")

    counts = Counts.of(pipeline.result)
    assert counts.get("predictions") + counts.get("dead_letters/postprocess/PostprocessError") == len(IMAGES)
    assert 1 <= counts.get("model_loads") <= (1 if mode == "multi_threading" else 2)


def _refuse_ones(outputs: Outputs) -> Outputs:
    if outputs["label"] == 1:
        raise ValueError("not a one")
    return outputs


def _has_no_ones(predictions: list[Prediction]) -> None:
    assert predictions
    assert 1 not in {int(prediction.outputs["label"]) for prediction in predictions}


def _are_of_postprocessing(letters: list[DeadLetter]) -> None:
    assert letters
    assert {(letter.stage, letter.message) for letter in letters} == {
        ("postprocess", "ValueError: not a one")
    }
    assert all(letter.prediction_id for letter in letters)
