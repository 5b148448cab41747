"""Files of numbers: NumPy's `.npy`."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.errors import DecodeError, ItemError
from transforms.predictors.base import TensorSpec

Array = np.ndarray[Any, Any]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of a `TensorSpec`, with bfloat16, which NumPy does not have by itself."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(object if name == "string" else name)


def cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """Copy numbers into another dtype of their kind; none may change but by rounding.

    Raises:
        ValueError: One is too large for it.
    """
    with np.errstate(over="ignore"):
        made = array.astype(dtype)
    if array.dtype != dtype and not _kept(array, made):
        raise ValueError(f"it does not fit into {dtype}")
    return made


@dataclass(frozen=True)
class ArrayDecoder:
    """Make arrays of the bytes of `.npy` files; pickled objects are refused.

    Attributes:
        spec: The input that takes the arrays.
    """

    spec: TensorSpec

    def decode(self, contents: Sequence[bytes]) -> Sequence[Array | ItemError]:
        """See `ImageDecoder.decode`."""
        return [self._decode(content) for content in contents]

    def _decode(self, content: bytes) -> Array | ItemError:
        try:
            array = _read(content)
        except (ValueError, EOFError, OSError) as error:
            return DecodeError(f"not a whole .npy file: {error}")
        found = f"the file holds {array.dtype} {list(array.shape)}"
        if not self.spec.accepts_item(array.shape) or not _is_of_kind(array.dtype, self.spec.dtype):
            return DecodeError(
                f"the model takes {self.spec}, of which the first dimension counts items; {found}"
            )
        try:
            return cast(array, numpy_dtype(self.spec.dtype))
        except ValueError:
            return DecodeError(
                f"the model takes {self.spec}; {found}, with numbers that are too large for it"
            )


def _read(content: bytes) -> Array:
    _check_length(content)
    array: Array = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def _check_length(content: bytes) -> None:
    """See that the numbers are there that the header claims, for which NumPy would allocate."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > len(content) - file.tell():
        raise ValueError(f"it is cut off, for its header says {dtype} {list(shape)}")


def _is_of_kind(found: np.dtype[Any], wanted: str) -> bool:
    """Tell whether numbers may be taken for others: whole ones for any, floats for floats or complex ones."""
    kinds = {"b": "b", "u": "biu", "i": "biu", "f": "biuf", "c": "biufc"}
    kind = "f" if wanted == "bfloat16" else numpy_dtype(wanted).kind
    return found.kind in kinds.get(kind, "")


def _kept(array: Array, made: Array) -> bool:
    if made.dtype.kind in "biu":
        return bool(np.array_equal(array, made))
    return bool(np.array_equal(np.isinf(array), np.isinf(made)))
