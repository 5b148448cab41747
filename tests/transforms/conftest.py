"""Models for the tests of this folder, each made or loaded once."""

from __future__ import annotations

import pytest

from tests.transforms import digits
from tests.transforms.toy_models import save_toys
from transforms.predictors.base import InputKind
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import open_model


def opened(
    model: str, signature: str = "serving_default", wanted_input_kind: InputKind | None = None
) -> LocalPredictor:
    return open_model(model, signature, Wishes(kind=wanted_input_kind))


def loaded(model: str, signature: str, wanted_input_kind: InputKind | None = None) -> LocalPredictor:
    predictor = opened(model, signature, wanted_input_kind)
    predictor.load()
    return predictor


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save the toy models, see `save_toys`."""
    return save_toys(tmp_path_factory.mktemp("models") / "toys")


@pytest.fixture(scope="session")
def digits_by_name() -> LocalPredictor:
    """Load the digits' model, for names."""
    return loaded(digits.MODEL, "serving_default")


@pytest.fixture(scope="session")
def digits_by_bytes() -> LocalPredictor:
    """Load the digits' model, for bytes."""
    return loaded(digits.MODEL, "from_bytes")
