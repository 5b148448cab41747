"""What libraries and users' functions return, as outputs of a signature."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from transforms.predictors.base import TensorSpec
from transforms.predictors.outputs import as_outputs


def _only(value: Any, dtype: str, *item_shape: int | None) -> Any:
    return as_outputs({"x": value}, (TensorSpec("x", dtype, (None, *item_shape)),))["x"]


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (0.5, "float32", ()),
        (3, "float32", ()),
        (3, "uint8", ()),
        (True, "bool", ()),
        (np.float64(0.5), "float32", ()),
        (np.int64(7), "int32", ()),
        ([0.5, 0.25], "float32", (2,)),
        ([], "float64", (None,)),
        (np.ones((2, 3)), "float16", (2, 3)),
        (np.float32(0.5), "bfloat16", ()),
        (float("nan"), "float32", ()),
        ([float("inf"), float("-inf")], "float32", (None,)),
    ],
)
def test_numbers_become_the_signatures_dtype(value: Any, dtype: str, shape: tuple[int | None, ...]) -> None:
    output = _only(value, dtype, *shape)

    assert str(output.dtype) == {"bfloat16": "float32"}.get(dtype, dtype)
    assert output.ndim == len(shape)
    np.testing.assert_array_equal(output, np.asarray(value, output.dtype))


def test_strings_are_text_and_base64_where_they_are_none() -> None:
    assert _only("né", "string") == "né"
    assert _only("né".encode(), "string") == "né"
    assert _only(b"\xff\xfe", "string") == "//4="
    assert _only(["a", b"b"], "string", 2).tolist() == ["a", "b"]
    assert _only(np.array(["a", "b"]), "string", None).dtype == object


def test_a_batch_of_one_is_taken_for_its_item() -> None:
    assert _only(np.array([3]), "int64") == 3
    assert _only(np.array([[0.5, 0.5]]), "float64", 2).shape == (2,)
    assert _only(np.array([0.5]), "float64", None).shape == (1,)


@pytest.mark.parametrize(
    ("value", "dtype", "shape", "problem"),
    [
        (0.5, "int64", (), "float64"),
        (300, "uint8", (), "does not fit into uint8"),
        (-1, "uint64", (), "does not fit into uint64"),
        (1e300, "float32", (), "does not fit into float32"),
        ([float("inf"), -1e300], "float32", (2,), "does not fit into float32"),
        (1e39, "bfloat16", (), "does not fit into float32"),
        (1_000_000, "float16", (), "does not fit into float16"),
        ("0.5", "float32", (), "cannot take '0.5'"),
        (1 + 2j, "float32", (), "complex128"),
        (None, "float32", (), "cannot take None"),
        (object(), "string", (), "not made of strings"),
        (1, "string", (), "not made of strings"),
        ([1, 2, 3], "int64", (2,), "shape [3]"),
        (1, "int64", (None,), "shape []"),
        ([[1, 2], [3]], "int64", (None, None), "cannot take [[1, 2], [3]]"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_does_not_fit_is_refused(
    value: Any, dtype: str, shape: tuple[int | None, ...], problem: str
) -> None:
    with pytest.raises(ValueError, match="output x") as raised:
        _only(value, dtype, *shape)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    "values", [{}, {"x": 1.0, "y": 1.0}, {"x": 1.0, 2: 1.0, None: 1.0}, {"y": 1.0}, [1.0], 1.0, None]
)
def test_the_outputs_must_be_those_of_the_signature(values: Any) -> None:
    with pytest.raises(ValueError, match=r"\['x'\]"):
        as_outputs(values, (TensorSpec("x", "float32", (None,)),))


def test_outputs_that_fit_are_passed_on_as_they_are() -> None:
    specs = (TensorSpec("a", "float32", (None, 3)), TensorSpec("b", "string", (None,)))
    values = {"a": np.zeros(3, np.float32), "b": "text"}

    assert as_outputs(values, specs) is values


def test_tensorflows_tensors_are_taken() -> None:
    import tensorflow as tf

    np.testing.assert_array_equal(_only(tf.constant([1.0, 2.0]), "float32", 2), [1, 2])
    assert _only(tf.constant("text"), "string") == "text"


def test_pytorchs_tensors_leave_the_gradients_and_the_accelerator_first() -> None:
    class Tensor:  # PyTorch, hundreds of megabytes, is no part of the tests
        calls: tuple[str, ...] = ()

        def detach(self) -> Tensor:
            self.calls = (*self.calls, "detach")
            return self

        def cpu(self) -> Tensor:
            self.calls = (*self.calls, "cpu")
            return self

        def numpy(self) -> Any:
            assert self.calls == ("detach", "cpu")
            return np.array([1.0, 2.0], np.float32)

    np.testing.assert_array_equal(_only(Tensor(), "float32", 2), [1, 2])


def test_neither_beam_nor_tensorflow_is_imported_for_it() -> None:
    code = (
        "import sys, transforms.predictors.top_classes; "
        "print(sorted({'apache_beam', 'tensorflow', 'torch'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
