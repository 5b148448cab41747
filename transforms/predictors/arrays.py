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


@dataclass(frozen=True)
class ArrayDecoder:
    """Make arrays of the bytes of `.npy` files; pickled objects are refused.

    Attributes:
        spec: The input that takes the arrays.
    """

    spec: TensorSpec

    def decode(self, contents: Sequence[bytes]) -> Sequence[np.ndarray[Any, Any] | ItemError]:
        """See `ImageDecoder.decode`."""
        return [self._decode(content) for content in contents]

    def _decode(self, content: bytes) -> np.ndarray[Any, Any] | ItemError:
        try:
            shape, dtype = _header(content)
            if math.prod(shape) * dtype.itemsize > len(
                content
            ):  # else NumPy allocates what the header claims
                return DecodeError(f"the .npy file is cut off: its header says {dtype} {list(shape)}")
            array: np.ndarray[Any, Any] = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            return DecodeError(f"not a .npy file: {error}")
        if not self.spec.accepts_item(array.shape) or not np.can_cast(dtype, self.spec.dtype, "same_kind"):
            return DecodeError(f"the model takes {self.spec}; the file holds {dtype} {list(shape)}")
        return array.astype(self.spec.dtype)


def _header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
