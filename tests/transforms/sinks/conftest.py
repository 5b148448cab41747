"""Records to write, of every kind that a model can make."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from transforms.predictors.base import Signature, TensorSpec
from transforms.records import Prediction
from transforms.schemas import arrow_schema

TIME = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone.utc)
NUMBERS = (
    *("bool", "float16", "float32", "float64"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)

SPECS = (
    *(TensorSpec(name, name, (None,)) for name in NUMBERS),
    *(TensorSpec(f"{name}_vector", name, (None, None)) for name in NUMBERS),
    *(TensorSpec(f"{name}_matrix", name, (None, 2, 2)) for name in NUMBERS),
    TensorSpec("bfloat16", "bfloat16", (None,)),
    TensorSpec("bfloat16_vector", "bfloat16", (None, 2)),
    TensorSpec("string", "string", (None,)),
    TensorSpec("string_vector", "string", (None, None)),
    TensorSpec("string_matrix", "string", (None, 2, 2)),
    TensorSpec("unknown", "float32", None),
    TensorSpec("unknown_string", "string", None),
)

OUTPUTS: dict[str, Any] = {
    **{name: np.dtype(name).type(1) for name in NUMBERS},
    **{f"{name}_vector": np.array([1, 0, 1], name) for name in NUMBERS},
    **{f"{name}_matrix": np.array([[1, 0], [0, 1]], name) for name in NUMBERS},
    "bfloat16": np.float32(0.5),
    "bfloat16_vector": np.array([0.5, 1], np.float32),
    "string": 'déjà, "vu"\n',
    "string_vector": np.array(["a", "", 'ü,"\n'], object),
    "string_matrix": np.array([["a", "b"], ["c", "d"]], object),
    "unknown": np.array([[1, 2], [3, 4]], np.float32),
    "unknown_string": "3",
}


def plain(value: Any) -> Any:
    """Return a NumPy value as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


@pytest.fixture
def schema() -> pa.Schema:
    """Return the schema of predictions with outputs of every kind."""
    return arrow_schema(Prediction, Signature("all", (), SPECS))


@pytest.fixture
def prediction() -> Callable[..., Prediction]:
    """Return a function that makes a prediction with outputs of every kind."""

    def make(uri: str = "a.png", **outputs: Any) -> Prediction:
        return Prediction(
            prediction_id="0123",
            uri=uri,
            generation=5,
            model="model",
            model_version="1",
            signature="all",
            outputs={**OUTPUTS, **outputs},
            attributes={"label": 3, "note": 'a,"b"\n'},
            predicted_at=TIME,
        )

    return make
