"""Models for the tests of this folder, each made or loaded once."""

from __future__ import annotations

import pytest

from tests.transforms import digits
from tests.transforms.toy_models import save_toys
from transforms.predictors.saved_model import SavedModelPredictor


def loaded(model: str, signature: str, **options: str) -> SavedModelPredictor:
    predictor = SavedModelPredictor(model, signature, **options)  # type: ignore[arg-type]
    predictor.load()
    return predictor


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save the toy models, see `save_toys`."""
    return save_toys(tmp_path_factory.mktemp("models") / "toys")


@pytest.fixture(scope="session")
def digits_by_name() -> SavedModelPredictor:
    """Load the digits' model, for names."""
    return loaded(digits.MODEL, "serving_default")


@pytest.fixture(scope="session")
def digits_by_bytes() -> SavedModelPredictor:
    """Load the digits' model, for bytes."""
    return loaded(digits.MODEL, "from_bytes")
