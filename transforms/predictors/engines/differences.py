"""How far the outputs of an engine are from TensorFlow's."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from transforms.predictors.functions import Tensors

Array = np.ndarray[Any, Any]

SMALLEST_SCALE = 1e-3
"""Values below it are compared as if the largest were of this size: what float32 leaves of a computation
among larger numbers is noise."""


class Difference(NamedTuple):
    """The output that differs most, and by how much."""

    output: str
    value: float


def difference(found: Tensors, expected: Tensors) -> Difference:
    """Tell how far outputs are from those expected.

    The difference of an output of floats is the largest |found - expected|, divided by the largest |expected|
    of that output in the batch; NaN and infinities must be where they are expected. The difference of
    integers, booleans and strings is the share of values that are not equal. Outputs of other names, dtypes
    or shapes are infinitely different.
    """
    if found.keys() != expected.keys():
        return Difference(", ".join(sorted(found.keys() ^ expected.keys())), math.inf)
    return max(
        (Difference(name, _difference(found[name], expected[name])) for name in expected),
        key=lambda difference: difference.value,
    )


def _difference(found: Array, expected: Array) -> float:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return math.inf
    if not expected.size:
        return 0.0
    if not np.issubdtype(expected.dtype, np.inexact):
        return float(np.mean(found != expected))
    absolute = largest_absolute_difference(found, expected)
    finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
    return absolute / max(float(finite.max(initial=0)), SMALLEST_SCALE)


def largest_absolute_difference(found: Array, expected: Array) -> float:
    """Return the largest |found - expected|: infinite where only one is NaN or infinite."""
    differ = ~((found == expected) | (np.isnan(found) & np.isnan(expected)))
    if not differ.any():
        return 0.0
    largest = np.abs(found[differ].astype(np.float64) - expected[differ]).max()
    return float(largest) if np.isfinite(largest) else math.inf
