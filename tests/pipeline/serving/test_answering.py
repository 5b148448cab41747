"""What becomes of requests, with real models, and without a network."""

from __future__ import annotations

import base64
import io
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pipeline.serve import read_options
from pipeline.serving.answering import Answering
from pipeline.serving.failure import RequestFailed
from pipeline.serving.instances import feed_of
from pipeline.serving.open_served import name_of, open_served
from tests.conftest import IMAGES, MODEL
from tests.pipeline.serving.served import b64
from tests.transforms.versioned_models import STEP, saved
from transforms.allowed_places import AllowedPlaces
from transforms.errors import ModelUnavailable
from transforms.predictors.open_model import open_model
from transforms.predictors.swapping_model import SwappingModel, serve
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef

Json = dict[str, Any]


def open_answering(model: Path | str, *flags: str) -> Answering:
    """Load a model as the command would."""
    options = read_options(["--model", str(model), *flags])
    predictor = open_served(options.model, options.engine, options.readable, options.wanted)
    served = serve(predictor, options.wanted.max_batch_size)
    served.load()
    allowed = AllowedPlaces(tuple(options.wanted.allowed_prefix or ()))
    return Answering(served, feed_of(predictor).item.name, allowed, options.wanted.max_batch_size)


def ask(answering: Answering, *instances: Any) -> list[Json]:
    answer: Json = orjson.loads(answering.answer({"instances": list(instances)}))
    predictions: list[Json] = answer["predictions"]
    return predictions


def refusal(answering: Answering, *instances: Any) -> tuple[int, str]:
    with pytest.raises(RequestFailed) as raised:
        ask(answering, *instances)
    return raised.value.status, raised.value.message


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Save a model of one function."""

    def make(outputs: Callable[..., Any], **inputs: tuple[Any, Sequence[int | None]]) -> str:
        tf = import_tensorflow()
        specs = [tf.TensorSpec(shape, dtype, name) for name, (dtype, shape) in inputs.items()]
        signature = tf.function(outputs, input_signature=specs, autograph=False)
        folder = str(tmp_path_factory.mktemp("saved") / "model")
        tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": signature})
        return folder

    return make


class TestImages:
    @pytest.fixture(scope="class")
    def digits(self) -> Answering:
        return open_answering(MODEL, "--signature", "from_images", "--preprocess", "scale=0..1")

    def test_encoded_files_and_prepared_numbers_have_the_same_predictions(self, digits: Answering) -> None:
        content = IMAGES[0].read_bytes()
        (image,) = feed_of(digits.model.current()).decoder.decode([content])  # type: ignore[union-attr]
        pixels = np.asarray(image)
        file = io.BytesIO()
        np.save(file, pixels)
        name = digits.item_name
        forms = [
            b64(content),
            {name: b64(content)},
            pixels.tolist(),
            {name: pixels.tolist()},
            b64(file.getvalue()),
        ]
        rows = ask(digits, *forms)
        assert rows == rows[:1] * len(forms)

    @pytest.mark.parametrize(
        ("instance", "reason"),
        [
            ([[0.0]], "must be float32 of the shape "),
            ("text", 'must be bytes, as {"b64": "..."}, or numbers: '),
            (b64(b"\x93NUMPY"), "DecodeError: not a whole .npy file"),
        ],
    )
    def test_what_is_neither_is_refused(self, digits: Answering, instance: Any, reason: str) -> None:
        status, message = refusal(digits, instance)
        assert status == 400
        assert reason in message

    def test_the_metadata_say_that_files_are_taken(self, digits: Answering) -> None:
        from pipeline.serving.metadata import input_types

        (told,) = input_types(feed_of(digits.model.current()))
        assert told == {"name": digits.item_name, "datatype": "BYTES", "shape": [-1]}


def test_arrays_are_taken_as_lists_and_as_files() -> None:
    digits = open_answering(MODEL, "--signature", "from_images", "--input_kind", "arrays")
    shape = [size or 1 for size in feed_of(digits.model.current()).item.shape or ()][1:]
    zeros = np.zeros(shape, np.float32)
    file = io.BytesIO()
    np.save(file, zeros)
    first, second = ask(digits, zeros.tolist(), b64(file.getvalue()))
    assert first == second


class TestNames:
    @pytest.fixture(scope="class")
    def digits(self) -> Answering:
        return open_answering(MODEL, "--allowed_prefix", str(IMAGES[0].parent))

    def test_files_in_allowed_places_are_read(self, digits: Answering) -> None:
        predictor = open_model(str(MODEL))
        predictor.load()
        (row,) = predictor.predict([FileBytes(FileRef(str(IMAGES[0])), None)])
        assert isinstance(row, dict)
        assert ask(digits, str(IMAGES[0]))[0]["label"] == row["label"]

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            (str(MODEL / "saved_model.pb"), "PlaceNotAllowed: "),
            (f"{IMAGES[0].parent}/../labels.csv", "PlaceNotAllowed: "),
            (f"{IMAGES[0].parent}/none.png", "FileMissing: "),
            (str(IMAGES[0].parent), "PlaceNotAllowed: |NotAFile: "),
            (3, "must be the name of a file"),
        ],
    )
    def test_no_others_are(self, digits: Answering, name: Any, error: str) -> None:
        status, message = refusal(digits, str(IMAGES[0]), name)
        assert status == 400
        assert message.startswith("instances 1: ")
        assert any(each in message for each in error.split("|"))


class TestOtherInputs:
    @pytest.fixture(scope="class")
    def weighed(self, save: Callable[..., str]) -> Answering:
        tf = import_tensorflow()

        def weigh(content: Any, weight: Any, unit: Any) -> Any:
            size = tf.cast(tf.strings.length(content), tf.float32)
            return {"weighed": size * weight, "unit": unit}

        column, number = (tf.string, [None]), (tf.float32, [None])
        model = save(weigh, content=column, weight=number, unit=column)
        return open_answering(model, "--item_input", "content", "--input_kind", "bytes")

    def test_they_are_taken_from_the_instance(self, weighed: Answering) -> None:
        instance = {"content": b64(b"1234"), "weight": 0.5, "unit": b64("µg".encode())}
        assert ask(weighed, instance) == [{"unit": "µg", "weighed": 2.0}]

    def test_text_is_bytes_as_well(self, weighed: Answering) -> None:
        assert ask(weighed, {"content": "µ", "weight": 1, "unit": ""}) == [{"unit": "", "weighed": 2.0}]

    @pytest.mark.parametrize(
        ("instance", "error"),
        [
            ({"content": "", "weight": 1}, "AttributeMissing: instance 0 has no attribute 'unit'"),
            (b64(b"alone"), "AttributeMissing: instance 0 has no attribute 'unit'"),
            (
                {"content": "", "weight": "a", "unit": ""},
                "AttributeInvalid: instance 0: attribute 'weight' must be",
            ),
            ({"weight": 1, "unit": ""}, "it lacks 'content'; an instance has the inputs content, "),
            (
                {"content": "", "weight": 1, "unit": "", "size": 1},
                "there is no input 'size'; an instance has ",
            ),
        ],
    )
    def test_an_instance_has_all_of_them_and_no_others(
        self, weighed: Answering, instance: Any, error: str
    ) -> None:
        status, message = refusal(weighed, instance)
        assert status == 400
        assert message.startswith(f"instances 0: {error}")


def test_numbers_are_written_exactly(save: Callable[..., str]) -> None:
    tf = import_tensorflow()
    values = [math.nan, math.inf, -math.inf, 0.1]

    def outputs(content: Any) -> Any:
        count = tf.size(content)
        floats = tf.constant(values, tf.float32)
        return {
            "nan": tf.fill([count], floats[0]),
            "vector": tf.tile(floats[None], [count, 1]),
            "half": tf.fill([count], tf.constant(0.1, tf.float16)),
            "brain": tf.fill([count], tf.constant(0.1, tf.bfloat16)),
            "large": tf.fill([count], tf.constant(2**63 - 1, tf.int64)),
            "flag": content == "a",
            "texts": tf.stack([content, content], 1),
        }

    model = save(outputs, content_bytes=(tf.string, [None]))
    (row,) = ask(open_answering(model), "a")
    assert row == {
        "nan": "NaN",
        "vector": ["NaN", "Infinity", "-Infinity", float(np.float32(0.1))],
        "half": float(np.float16(0.1)),
        "brain": 0.10009765625,
        "large": 2**63 - 1,
        "flag": True,
        "texts": ["a", "a"],
    }


def test_the_best_classes_are_added() -> None:
    digits = open_answering(MODEL, "--signature", "from_bytes", "--top_k", "2")
    (row,) = ask(digits, b64(IMAGES[0].read_bytes()))
    assert row["top_indexes"][0] == row["label"]
    assert row["top_scores"][0] == row["probability"]


def test_a_newer_version_takes_over(tmp_path: Path) -> None:
    shutil.copytree(saved(1), tmp_path / "1")
    answering = open_answering(tmp_path, "--model_poll_interval", "60")
    before = orjson.loads(answering.answer({"instances": ["abc"]}))
    assert before == {"predictions": [{"sum": STEP + 3}], "model_version": "1"}

    shutil.copytree(saved(2), tmp_path / "2")
    model = answering.model
    assert isinstance(model, SwappingModel)
    assert [model.look(), model.look()] == [False, True]
    after = orjson.loads(answering.answer({"instances": ["abc"]}))
    assert after == {"predictions": [{"sum": 2 * STEP + 3}], "model_version": "2"}


class TestFailures:
    class Failing:
        """A predictor of the digits whose model has other troubles than its items."""

        def __init__(self, error: Exception) -> None:
            self._inner = open_model(str(MODEL), "from_bytes")
            self._error = error
            self.feed = self._inner.feed
            self.signature = self._inner.signature
            self.model_version = "1"

        def predict(self, batch: Sequence[FileBytes]) -> Any:
            raise self._error

        load = warm_up = lambda self, *_: None

    @pytest.mark.parametrize(
        ("error", "status", "message"),
        [
            (MemoryError("none left"), 500, "instances 0: MemoryError: none left"),
            (ModelUnavailable("busy"), 503, "instances 0: ModelUnavailable: busy"),
        ],
    )
    def test_they_are_told_by_the_status(self, error: Exception, status: int, message: str) -> None:
        predictor: Any = self.Failing(error)
        model = serve(predictor, 1)
        model.load()
        answering = Answering(model, "image_bytes", AllowedPlaces(), 1)
        assert refusal(answering, b64(b"x")) == (status, message)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("models/digits", "digits"),
        ("models/digits/", "digits"),
        ("models/digits/3", "digits"),
        ("/models/digits/0003", "digits"),
        ("gs://bucket/models/digits/1", "digits"),
        ("gs://bucket", "bucket"),
        ("/models/Mobile Net (v2).keras", "Mobile-Net-v2"),
        ("digits.tflite", "digits"),
        ("/1", "model"),
    ],
)
def test_a_model_is_named_by_its_place(model: str, name: str) -> None:
    assert name_of(model) == name


def test_base64_is_checked() -> None:
    digits = open_answering(MODEL, "--signature", "from_bytes")
    good = base64.b64encode(IMAGES[0].read_bytes()).decode()
    for bad in (f"{good}!", good[:-1], "ä"):
        status, message = refusal(digits, {"b64": bad})
        assert status == 400
        assert "'b64' is not base64" in message
