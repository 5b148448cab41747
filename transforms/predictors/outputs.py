"""From what a library or a user's function returns to the outputs of a signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.predictors.arrays import cast
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.rows import rows_of
from transforms.records import Outputs, shown

WRITTEN_AS = {"bfloat16": "float32"}
"""Dtypes that NumPy does not have by itself; their outputs come as another."""

_WHOLE = "iu"


def as_outputs(values: Any, specs: Sequence[TensorSpec]) -> Outputs:
    """Make one item's outputs of values of many kinds.

    Args:
        values: A mapping by the names of the outputs: NumPy arrays and scalars, Python's numbers, strings and
            lists, tensors of PyTorch and TensorFlow.
        specs: The outputs that there must be, and no others.

    Returns:
        What `Predictor.predict` promises: arrays and scalars of the dtypes and ranks that the specs tell.

    Raises:
        ValueError: An output is missing or not known, or has a value that its spec does not allow.
    """
    expected = {spec.name for spec in specs}
    if not isinstance(values, Mapping):
        raise ValueError(f"{shown(values)} is no mapping of the outputs {sorted(expected)}")
    if set(values) != expected:
        found = shown(sorted(values, key=str))  # since names of a user's may be of several types
        raise ValueError(f"there are the outputs {found}; there must be {sorted(expected)}")
    changed = [spec for spec in specs if not _is_output(values[spec.name], spec)]
    if not changed:
        return values
    columns = {spec.name: as_array(values[spec.name], spec)[np.newaxis] for spec in changed}
    (row,) = rows_of(columns, Signature("", (), tuple(changed)), 1)
    return {**values, **row}


def as_array(value: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    """Make an array of an output's dtype and rank of a value; no number may change but by rounding.

    A batch of one is taken for its item: some libraries predict on one row at a time.

    Raises:
        ValueError: It is of another kind, or of another rank.
    """
    try:
        array = _array(_on_host(value), spec.dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the output {spec} cannot take {shown(value)}: {error}") from error
    if spec.item_shape is not None and array.shape[:1] == (1,) and array.ndim == len(spec.item_shape) + 1:
        array = array[0, ...]  # the dots keep the item of a vector an array
    if not spec.accepts_item(array.shape):
        raise ValueError(f"the output {spec} cannot take an item of the shape {list(array.shape)}")
    return array


def _is_output(value: Any, spec: TensorSpec) -> bool:
    """Tell whether a value already is what the spec tells; cheap, since most are."""
    if isinstance(value, str):
        return spec.dtype == "string" and spec.item_shape in ((), None)
    if not isinstance(value, (np.ndarray, np.generic)) or not spec.accepts_item(value.shape):
        return False
    if spec.dtype == "string":
        return value.dtype == object and value.ndim > 0 and all(isinstance(item, str) for item in value.flat)
    return str(value.dtype) == WRITTEN_AS.get(spec.dtype, spec.dtype)


def _on_host(value: Any) -> Any:
    """Take a tensor out of its library, which need not be imported for that."""
    if hasattr(value, "detach"):  # PyTorch's, which may record gradients or lie on an accelerator
        value = value.detach().cpu()
    return value.numpy() if callable(getattr(value, "numpy", None)) else value


def _array(value: Any, dtype: str) -> np.ndarray[Any, Any]:
    if dtype == "string":
        return _strings(value)
    array, wanted = np.asarray(value), np.dtype(WRITTEN_AS.get(dtype, dtype))
    whole = array.dtype.kind in _WHOLE and wanted.kind in _WHOLE
    if not whole and not np.can_cast(array.dtype, wanted, "same_kind"):
        raise ValueError(f"it is of {array.dtype}")
    return cast(array, wanted)


def _strings(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value, object)
    if not all(isinstance(item, (str, bytes)) for item in array.flat):
        raise ValueError("it is not made of strings")
    return array
