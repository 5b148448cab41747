"""Files of numbers, whole and broken."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

from transforms.errors import DecodeError
from transforms.predictors.arrays import ArrayDecoder, numpy_dtype
from transforms.predictors.base import TensorSpec


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def decode(content: bytes, dtype: str = "float32", shape: tuple[int | None, ...] | None = (None, 3)) -> Any:
    (outcome,) = ArrayDecoder(TensorSpec("x", dtype, shape)).decode([content])
    return outcome


GIVEN = {
    "the same dtype": ("float32", np.float32([1, 2, 3])),
    "double precision": ("float32", np.float64([1, 2, 3])),
    "whole numbers for floats": ("float32", np.int64([1, 2, 3])),
    "truth for floats": ("float32", np.array([True, False, True])),
    "another order of bytes": ("float32", np.array([1, 2, 3], ">f4")),
    "large numbers that fit": ("uint8", np.int64([0, 128, 255])),
    "floats without an end": ("float16", np.float32([np.nan, np.inf, -np.inf])),
    "complex numbers": ("complex64", np.complex128([1 + 2j, 3, 4])),
    "truth": ("bool", np.array([True, False, True])),
    "bfloat16": ("bfloat16", np.float32([1, 2, 3])),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_numbers_are_taken(kind: str) -> None:
    dtype, array = GIVEN[kind]

    found = decode(saved(array), dtype)

    assert found.dtype == numpy_dtype(dtype)
    np.testing.assert_array_equal(found, array.astype(numpy_dtype(dtype)))


def test_columns_before_rows_are_taken() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))

    np.testing.assert_array_equal(decode(saved(array), shape=(None, 2, 3)), array)


def test_an_open_dimension_takes_any_size() -> None:
    assert decode(saved(np.zeros((7, 3))), shape=(None, None, 3)).shape == (7, 3)
    assert decode(saved(np.zeros(5)), shape=None).shape == (5,)


def test_a_single_number_is_an_item() -> None:
    assert decode(saved(np.float32(4)), shape=(None,)) == 4


WHOLE = saved(np.zeros(3, np.float32))


def _claiming(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header


REFUSED = {
    "nothing": (b"", "float32", "not a whole .npy file"),
    "text": (b"1,2,3\n", "float32", "not a whole .npy file"),
    "cut in the numbers": (WHOLE[:-4], "float32", "cut off"),
    "cut in the header": (WHOLE[:20], "float32", "not a whole .npy file"),
    "a header that claims much": (_claiming("(1000000000000,)"), "float32", "cut off"),
    "a header that claims less than nothing": (_claiming("(-1,)"), "float32", "not a whole .npy file"),
    "pickled objects": (saved(np.array([{}, 1, 2], object)), "float32", "not a whole .npy file"),
    "another shape": (saved(np.zeros(4)), "float32", "the file holds float64 [4]"),
    "a batch": (saved(np.zeros((1, 3))), "float32", "of which the first dimension counts items"),
    "strings": (saved(np.array(["a", "b", "c"])), "float32", "the file holds <U1 [3]"),
    "complex numbers for floats": (saved(np.zeros(3, complex)), "float32", "the file holds complex128"),
    "floats for whole numbers": (saved(np.zeros(3)), "int32", "the file holds float64"),
    "dates": (saved(np.zeros(3, "datetime64[s]")), "int64", "the file holds datetime64[s]"),
    "records": (saved(np.zeros(3, "f4,i4")), "float32", "the file holds"),
    "whole numbers that are too large": (saved(np.int64([0, 0, 1 << 40])), "int32", "too large"),
    "whole numbers below 0": (saved(np.int64([0, 0, -1])), "uint8", "too large"),
    "floats that are too large": (saved(np.float64([0, 0, 1e300])), "float32", "too large"),
    "floats that are too large by half": (saved(np.float32([0, 0, 1e6])), "float16", "too large"),
    "whole numbers for smaller floats": (saved(np.int64([0, 0, 10**6])), "float16", "too large"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("error")
def test_what_the_model_does_not_take_is_refused(kind: str) -> None:
    content, dtype, words = REFUSED[kind]

    outcome = decode(content, dtype)

    assert isinstance(outcome, DecodeError)
    assert words in str(outcome)
