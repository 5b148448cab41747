"""The project's predictors in Beam's `RunInference`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from transforms import open_model
from transforms.predictor_model_handler import PredictorModelHandler
from transforms.records import DeadLetter, FileBytes, FileRef, prediction_id

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "examples/digits/model")
IMAGES = sorted((ROOT / "examples/digits/images").glob("*.png"))[:40]
BROKEN = FileBytes(FileRef("broken.png", attributes={"row": 7}), b"broken")
ITEMS = [*(FileBytes(FileRef(str(path)), path.read_bytes()) for path in IMAGES), BROKEN]


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    predictor = open_model(MODEL, "from_bytes")
    predictor.load()
    outcomes = predictor.predict(ITEMS[:-1])
    return {item.ref.uri: outcome for item, outcome in zip(ITEMS, outcomes, strict=False)}


def _check(results: list[PredictionResult], expected: dict[str, Any]) -> None:
    predicted = {result.example.ref.uri: result.inference for result in results}
    letter = predicted.pop("broken.png")
    assert predicted.keys() == expected.keys()
    for uri, outputs in predicted.items():
        assert outputs["label"] == expected[uri]["label"]
        np.testing.assert_allclose(outputs["scores"], expected[uri]["scores"], atol=1e-6)
    version = open_model(MODEL, "from_bytes").model_version
    assert {result.model_id for result in results} == {version}
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.error, letter.attributes) == ("decode", "DecodeError", {"row": 7})
    assert letter.prediction_id == prediction_id(BROKEN.ref, version, "from_bytes")


def test_run_inference_predicts_and_a_bad_file_costs_one_dead_letter(expected: dict[str, Any]) -> None:
    handler = PredictorModelHandler(open_model(MODEL, "from_bytes"), max_batch_size=16)

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        results = pipeline | beam.Create(ITEMS) | RunInference(handler)
        assert_that(results, lambda found: _check(found, expected))

    sizes = pipeline.result.metrics().query(
        beam.metrics.MetricsFilter()
        .with_namespace("beam_predict")
        .with_name("inference_batch_latency_micro_secs")
    )
    assert sizes["distributions"][0].result.count == 3, "41 files in batches of 16"


def test_run_inference_with_keys_keeps_the_keys(expected: dict[str, Any]) -> None:
    handler = KeyedModelHandler(PredictorModelHandler(open_model(MODEL, "from_bytes")))

    def check(found: list[tuple[str, PredictionResult]]) -> None:
        assert all(key == result.example.ref.uri for key, result in found)
        _check([result for _, result in found], expected)

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        keyed = pipeline | beam.Create([(item.ref.uri, item) for item in ITEMS])
        assert_that(keyed | RunInference(handler), check)


def test_names_are_enough_for_a_signature_that_reads_them(expected: dict[str, Any]) -> None:
    handler = PredictorModelHandler(open_model(MODEL))
    names = [FileBytes(item.ref, None) for item in ITEMS[:4]]

    results = list(handler.run_inference(names, handler.load_model()))

    assert [result.inference["label"] for result in results] == [
        expected[item.ref.uri]["label"] for item in names
    ]


def test_a_handler_that_has_loaded_its_model_can_still_be_pickled() -> None:
    handler = PredictorModelHandler(open_model(MODEL, "from_bytes"))
    before = pickle.dumps(handler._predictor)
    handler.load_model()
    assert pickle.dumps(handler._predictor) == before


def test_arguments_that_no_predictor_takes_are_refused() -> None:
    handler = PredictorModelHandler(open_model(MODEL))

    with pytest.raises(ValueError, match="a predictor takes none"):
        _ = beam.Pipeline() | beam.Create(ITEMS) | RunInference(handler, inference_args={"k": 1})


def test_the_size_of_a_batch_is_that_of_its_files() -> None:
    handler = PredictorModelHandler(open_model(MODEL))

    assert handler.get_num_bytes([BROKEN, FileBytes(FileRef("name"), None)]) == len(b"broken")
