"""How far outputs are from those expected."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from transforms.predictors.engines.differences import difference


def _of(*values: Any, dtype: str = "float32") -> dict[str, np.ndarray[Any, Any]]:
    return {"out": np.array(values, dtype)}


@pytest.mark.parametrize(
    ("found", "expected", "wanted"),
    [
        (_of(1.0, 200.0), _of(1.0, 200.0), 0.0),
        (_of(1.0, 202.0), _of(1.0, 200.0), 0.01),
        (_of(-101.0, 1.0), _of(-100.0, 1.0), 0.01),
        (_of(3.0, 4.0), _of(3.0, 4.0), 0.0),
        (_of(math.nan, 1.0), _of(math.nan, 1.0), 0.0),
        (_of(math.inf, 1.0), _of(math.inf, 1.0), 0.0),
        (_of(math.inf, 1.0), _of(-math.inf, 1.0), math.inf),
        (_of(math.nan, 1.0), _of(1.0, 1.0), math.inf),
        (_of(1.0, math.nan), _of(1.0, math.inf), math.inf),
        (_of(1, 2, 3, 4, dtype="int64"), _of(1, 2, 3, 5, dtype="int64"), 0.25),
        (_of(True, False, dtype="bool"), _of(True, True, dtype="bool"), 0.5),
        (_of(b"a", b"b", dtype="object"), _of(b"a", b"c", dtype="object"), 0.5),
        (_of(dtype="float32"), _of(dtype="float32"), 0.0),
    ],
)
def test_differences_are_relative_to_the_largest_value_or_shares(
    found: dict[str, Any], expected: dict[str, Any], wanted: float
) -> None:
    assert difference(found, expected).value == pytest.approx(wanted)


def test_noise_among_values_near_zero_is_no_difference() -> None:
    assert difference(_of(1e-9, 3e-9), _of(2e-9, 1e-9)).value < 1e-5


@pytest.mark.parametrize(
    "found",
    [_of(1.0, dtype="float64"), _of(1.0, 1.0), {"other": np.ones(1, np.float32)}, {}],
    ids=["dtype", "shape", "name", "missing"],
)
def test_outputs_of_another_kind_are_infinitely_different(found: dict[str, Any]) -> None:
    assert difference(found, _of(1.0)).value == math.inf


def test_the_output_that_differs_most_is_named() -> None:
    expected = {"label": np.array([1, 2]), "scores": np.array([1.0, 1.0], np.float32)}
    found = {"label": np.array([1, 2]), "scores": np.array([1.0, 1.5], np.float32)}

    assert difference(found, expected).output == "scores"


def test_half_precision_does_not_overflow() -> None:
    assert difference(_of(6e4, dtype="float16"), _of(-6e4, dtype="float16")).value == pytest.approx(2.0)
