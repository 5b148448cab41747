"""Beam's model handlers as predictors, shown with scikit-learn."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from transforms import BatchFiles, Predict, ReadFiles
from transforms.errors import (
    AttributeMissing,
    ContractError,
    DecodeError,
    ItemError,
    PredictionError,
    StorageUnavailable,
)
from transforms.model_handler_predictor import ModelHandlerPredictor
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.contract import predict_checked
from transforms.records import DeadLetter, FileBytes, FileRef, Prediction

ROOT = Path(__file__).parents[2]
IMAGES = sorted((ROOT / "examples/digits/images").glob("*.png"))
BATCH = [FileBytes(FileRef(str(path)), path.read_bytes()) for path in IMAGES]

LABEL = Signature("predict", (), (TensorSpec("label", "int64", (None,)),))
SCORES = Signature("predict_proba", (), (TensorSpec("scores", "float64", (None, 10)),))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on the digits that are not among the bundled images."""
    ink, digits = load_digits(return_X_y=True)
    train = np.setdiff1d(np.arange(len(digits)), [int(path.stem) for path in IMAGES])
    fitted = LogisticRegression(max_iter=1_000).fit(ink[train] / 16, digits[train])
    path = tmp_path_factory.mktemp("sklearn") / "digits.pkl"
    path.write_bytes(pickle.dumps(fitted))
    return path


def _pixels(item: FileBytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(item.content or b"")) as image:
        return np.asarray(image.convert("L"), np.float64).reshape(64) / 255


def _probabilities(model: Any, batch: Sequence[Any], inference_args: Any = None) -> Any:
    return model.predict_proba(np.stack(batch))


def _predictor(handler: ModelHandler[Any, Any, Any], signature: Signature = LABEL, **more: Any) -> Any:
    fields = {"model": "digits.pkl", "model_version": "1", "prepare": _pixels, **more}
    return ModelHandlerPredictor(handler, signature=signature, **fields)


def _outcomes(predictor: Any, batch: Sequence[FileBytes]) -> list[Any]:
    predictor.load()
    return list(predict_checked(predictor, batch))


# scikit-learn, for real


def test_scikit_learn_predicts_in_the_pipeline_as_it_does_alone(model: Path) -> None:
    predictor = _predictor(SklearnModelHandlerNumpy(str(model)))
    bare = pickle.loads(model.read_bytes())  # noqa: S301
    expected = dict(zip(map(str, IMAGES), bare.predict(np.stack(list(map(_pixels, BATCH)))), strict=True))

    def as_alone(predictions: list[Prediction]) -> None:
        assert {record.uri: record.outputs["label"] for record in predictions} == expected

    def one_dead_letter(letters: list[DeadLetter]) -> None:
        ((uri, stage, error),) = [(letter.uri, letter.stage, letter.error) for letter in letters]
        assert (uri, stage, error) == (str(ROOT / "README.md"), "decode", "DecodeError")

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        files = pipeline | beam.Create([FileRef(str(path)) for path in [*IMAGES, ROOT / "README.md"]])
        contents = files | BatchFiles(32) | ReadFiles()
        predicted = contents.main | Predict(predictor, warm_up_batch_size=32)
        assert_that(predicted.main, as_alone, label="predictions")
        assert_that(predicted.dead_letters, one_dead_letter, label="dead letters")


def test_scikit_learn_knows_the_digits(model: Path) -> None:
    with (ROOT / "examples/digits/labels.csv").open() as file:
        labels = {Path(row["uri"]).name: int(row["label"]) for row in csv.DictReader(file)}
    handler = SklearnModelHandlerNumpy(str(model), inference_fn=_probabilities)

    outcomes = _outcomes(_predictor(handler, SCORES), BATCH)

    right = [
        outcome["scores"].argmax() == labels[path.name]
        for path, outcome in zip(IMAGES, outcomes, strict=True)
    ]
    assert np.mean(right) > 0.95
    np.testing.assert_allclose([outcome["scores"].sum() for outcome in outcomes], 1)


def test_a_value_that_the_model_refuses_costs_only_its_item(model: Path) -> None:
    def pixels_or_nan(item: FileBytes) -> np.ndarray[Any, Any]:
        return np.full(64, np.nan) if item.ref.uri in (BATCH[3].ref.uri, BATCH[7].ref.uri) else _pixels(item)

    outcomes = _outcomes(_predictor(SklearnModelHandlerNumpy(str(model)), prepare=pixels_or_nan), BATCH[:10])

    assert [isinstance(outcome, ItemError) for outcome in outcomes] == [at in (3, 7) for at in range(10)]
    assert isinstance(outcomes[3], PredictionError)
    assert str(outcomes[3]).startswith("ValueError: Input X contains NaN")


def test_the_documented_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"^```python\n(.*?)^```$", Path("docs/frameworks.md").read_text(), re.M | re.S)
    assert "SklearnModelHandlerNumpy" in blocks[0]

    exec(blocks[0].replace("out/frameworks", str(tmp_path)), {"__name__": "__main__"})  # noqa: S102

    records = [json.loads(line) for file in tmp_path.glob("predictions-*") for line in file.open()]
    assert {record["uri"] for record in records} == {str(path.relative_to(ROOT)) for path in IMAGES}
    assert {len(record["outputs"]["top_names"]) for record in records} == {2}


# what a handler may do beside


class _Handler(ModelHandler[Any, Any, Any]):
    """Answers with what a function makes of the batch; for what scikit-learn never does."""

    def __init__(self, answer: Callable[[Sequence[Any]], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._answer = answer

    def load_model(self) -> str:
        return "the model"

    def run_inference(self, batch: Sequence[Any], model: str, inference_args: Any = None) -> Any:
        assert model == "the model"
        return self._answer(batch)


def _size(item: FileBytes) -> int:
    return len(item.content or b"")


def _doubled(batch: Sequence[int]) -> list[PredictionResult]:
    return [PredictionResult(size, np.int64(2 * size)) for size in batch]


ITEMS = [FileBytes(FileRef(f"{size}.bin"), b"x" * size) for size in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    "answer",
    [
        _doubled,
        lambda batch: iter(_doubled(batch)),
        lambda batch: [2 * size for size in batch],
        lambda batch: [{"label": np.array([2 * size], np.int32)} for size in batch],
    ],
)
def test_results_of_many_kinds_are_understood(answer: Callable[[Sequence[int]], Any]) -> None:
    outcomes = _outcomes(_predictor(_Handler(answer), prepare=_size), ITEMS)

    assert [outcome["label"] for outcome in outcomes] == [2, 4, 6, 8, 10]
    assert {outcome["label"].dtype for outcome in outcomes} == {np.dtype("int64")}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda batch: _doubled(batch)[:-1], "_Handler returned 4 results for a batch of 5"),
        (lambda batch: _doubled(batch) * 2, "_Handler returned 10 results for a batch of 5"),
        (lambda batch: [], "returned 0 results"),
        (lambda batch: [0.5] * len(batch), "float64"),
        (lambda batch: [{"labels": 1}] * len(batch), r"there are the outputs \['labels'\]"),
    ],
)
def test_a_handler_that_breaks_its_promise_stops_the_job(
    answer: Callable[[Sequence[int]], Any], problem: str
) -> None:
    with pytest.raises(ContractError, match=problem):
        _outcomes(_predictor(_Handler(answer), prepare=_size), ITEMS)


def test_several_outputs_need_names() -> None:
    two = Signature("f", (), (TensorSpec("a", "int64", (None,)), TensorSpec("b", "int64", (None,))))

    with pytest.raises(ContractError, match="no mapping"):
        _outcomes(_predictor(_Handler(_doubled), two, prepare=_size), ITEMS)


@pytest.mark.parametrize(
    ("raised", "expected", "stage"),
    [
        (ValueError("too dark"), DecodeError, "decode"),
        (AttributeMissing("no scale"), AttributeMissing, "predict"),
        (StorageUnavailable("later"), StorageUnavailable, "read"),
    ],
)
def test_what_cannot_be_prepared_costs_only_its_item(
    raised: Exception, expected: type[ItemError], stage: str
) -> None:
    def prepare(item: FileBytes) -> int:
        if item.ref.uri == "3.bin":
            raise raised
        return _size(item)

    outcomes = _outcomes(_predictor(_Handler(_doubled), prepare=prepare), ITEMS)

    assert type(outcomes[2]) is expected
    assert str(raised) in str(outcomes[2])
    assert DeadLetter.of(outcomes[2]).stage == stage
    assert [outcome["label"] for at, outcome in enumerate(outcomes) if at != 2] == [2, 4, 8, 10]


def test_a_batch_of_which_nothing_can_be_prepared_does_not_reach_the_handler() -> None:
    def never(batch: Sequence[Any]) -> Any:
        raise AssertionError(batch)

    outcomes = _outcomes(_predictor(_Handler(never), prepare=lambda item: 1 // 0), ITEMS)

    assert all(isinstance(outcome, DecodeError) for outcome in outcomes)


def test_functions_before_and_after_inference_are_applied() -> None:
    handler: Any = (
        _Handler(_doubled)
        .with_preprocess_fn(lambda size: size + 100)
        .with_postprocess_fn(lambda result: {"label": result.inference + 1})
        .with_postprocess_fn(lambda outputs: {"label": -outputs["label"]})
    )

    outcomes = _outcomes(_predictor(handler, prepare=_size), ITEMS)

    assert [outcome["label"] for outcome in outcomes] == [-203, -205, -207, -209, -211]


def test_a_sample_warms_the_model_up_at_the_size_of_a_batch() -> None:
    seen: list[Sequence[Any]] = []
    predictor = _predictor(_Handler(lambda batch: seen.append(batch) or _doubled(batch)), sample=7)

    predictor.load()
    predictor.warm_up(3)

    assert [list(batch) for batch in seen] == [[7, 7, 7]]


def test_environment_variables_are_set_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_THREADS", "0")
    import os

    _predictor(_Handler(_doubled, env_vars={"A_THREADS": "2"})).load()

    assert os.environ["A_THREADS"] == "2"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"handler": KeyedModelHandler(_Handler(_doubled))}, "pass the one that it wraps"),
        ({"input_kind": "images"}, "input_kind is 'images'; it must be names or bytes"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(fields: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        _predictor(**{"handler": _Handler(_doubled), **fields})


def test_it_can_be_pickled_before_it_is_loaded(model: Path) -> None:
    predictor = _predictor(SklearnModelHandlerNumpy(str(model)))

    again = pickle.loads(pickle.dumps(predictor))  # noqa: S301

    assert len(_outcomes(again, BATCH[:2])) == 2
