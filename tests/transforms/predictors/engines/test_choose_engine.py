"""Which engines a function is tried with."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from transforms.errors import ModelError
from transforms.predictors.engines import ENGINES, EngineFunction, EngineWish, with_engine
from transforms.predictors.functions import Chain, Function
from transforms.predictors.open_model import open_model
from transforms.predictors.saved_model import SavedModelFunction

DIGITS = str(Path(__file__).parents[4] / "examples/digits/model")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    engines: Any = ENGINES
    for name, engine in list(engines.items()):
        monkeypatch.setitem(engines, name, replace(engine, module="no_such_module"))


def test_tensorflow_is_left_alone() -> None:
    function = SavedModelFunction(DIGITS, "from_images")

    assert with_engine(function, EngineWish("tensorflow")) is function


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("litert", "ai-edge-litert")])
@pytest.mark.usefixtures("nothing_installed")
def test_a_missing_package_is_told_with_the_command_that_installs_it(name: str, package: str) -> None:
    with pytest.raises(ModelError, match=f"--engine {name}: .* not installed; pip install {package}"):
        open_model(DIGITS, "from_images", engine=EngineWish(name))


@pytest.mark.usefixtures("nothing_installed")
def test_auto_needs_no_package() -> None:
    function = with_engine(SavedModelFunction(DIGITS, "from_images"), EngineWish("auto"))

    assert isinstance(function, EngineFunction)
    assert function.engines == ()


def test_the_models_own_preprocessing_stays_tensorflows() -> None:
    function: Function = open_model(DIGITS, "from_images", engine=EngineWish("auto")).function

    assert isinstance(function, Chain)
    assert isinstance(function.first, SavedModelFunction)
    assert isinstance(function.second, EngineFunction)


def test_a_string_signature_is_refused_and_the_numeric_ones_are_named() -> None:
    with pytest.raises(ModelError) as caught:
        open_model(DIGITS, "from_bytes", engine=EngineWish("openvino"))

    message = str(caught.value)
    assert message.startswith("--engine openvino: signature from_bytes(")
    assert "\n    from_images(images: float32 [?, 8, 8, 1])" in message
    assert "\n    preprocess(" not in message


def test_auto_computes_a_string_signature_with_tensorflow(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    function = SavedModelFunction(DIGITS, "from_bytes")

    assert with_engine(function, EngineWish("auto")) is function
    assert "TensorFlow computes, since signature from_bytes(" in caplog.text


def test_models_that_are_not_tensorflows_are_refused() -> None:
    class Other:
        signature = SavedModelFunction(DIGITS, "from_images").signature

    other: Any = Other()

    with pytest.raises(ModelError, match="only TensorFlow's models can be converted"):
        with_engine(other, EngineWish("litert"))
