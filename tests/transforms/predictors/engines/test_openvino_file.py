"""Models in OpenVINO's own format."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.transforms.predictors.engines.installed import require
from transforms.errors import ModelError
from transforms.predictors.convert import convert_model
from transforms.predictors.engines.differences import difference
from transforms.predictors.engines.openvino_file import OPENVINO_MODEL, OpenVinoFile, weights_of
from transforms.predictors.saved_model import SavedModelFunction

DIGITS = str(Path(__file__).parents[4] / "examples/digits/model")


@pytest.fixture(scope="module")
def digits() -> SavedModelFunction:
    function = SavedModelFunction(DIGITS, "from_images")
    function.load()
    return function


@pytest.fixture
def path(digits: SavedModelFunction, tmp_path: Path) -> str:
    require("openvino")
    for name, content in convert_model(digits, "openvino").files.items():
        (tmp_path / name).write_bytes(content)
    return str(tmp_path / OPENVINO_MODEL)


def test_it_has_the_signature_and_the_outputs_of_the_original(digits: SavedModelFunction, path: str) -> None:
    function = pickle.loads(pickle.dumps(OpenVinoFile(path)))  # noqa: S301
    function.load()
    images = {"images": np.random.default_rng(1).random((40, 8, 8, 1), dtype=np.float32)}

    assert function.signature.inputs == digits.signature.inputs
    assert function.signature.outputs == digits.signature.outputs
    assert difference(function.call(images), digits.call(images)).value < 1e-5


def test_it_is_pickled_without_what_is_loaded(path: str) -> None:
    function = OpenVinoFile(path)
    function.load()

    assert pickle.loads(pickle.dumps(function)) == OpenVinoFile(path)  # noqa: S301


def test_a_named_signature_is_refused(path: str) -> None:
    with pytest.raises(ModelError, match="--signature from_images: an OpenVINO model has no named"):
        OpenVinoFile(path, "from_images")


def test_missing_weights_are_told(path: str) -> None:
    Path(weights_of(path)).unlink()

    with pytest.raises(ModelError, match=r"model.xml cannot be read by OpenVINO: Empty weights data in bin"):
        _ = OpenVinoFile(path).signature


def test_a_damaged_model_is_told(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:3000])

    with pytest.raises(ModelError, match=r"model.xml cannot be read by OpenVINO: "):
        OpenVinoFile(path).load()
