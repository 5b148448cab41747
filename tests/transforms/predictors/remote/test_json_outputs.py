"""Predictions in JSON, as the outputs of items."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from transforms.errors import AnswerInvalid
from transforms.predictors.base import TensorSpec
from transforms.predictors.remote.json_outputs import describe_row, predictions_of, read_rows, transposed
from transforms.predictors.remote.wire import Action, CallFailed, Reply

_REPLY = Reply(b"the answer")


def _spec(dtype: str, *item_shape: int | None, name: str = "x") -> TensorSpec:
    return TensorSpec(name, dtype, (None, *item_shape))


def _read(prediction: Any, *specs: TensorSpec) -> Any:
    (row,) = read_rows([prediction], specs)
    return row


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        (0.5, _spec("float32")),
        (3, _spec("float32")),
        (0.1, _spec("float32")),
        (0.1, _spec("float64")),
        (3.4028235e38, _spec("float32")),
        (0.1, _spec("float16")),
        (math.nan, _spec("float32")),
        ([math.inf, -math.inf, 1], _spec("float64", 3)),
        (-(2**63), _spec("int64")),
        (2**64 - 1, _spec("uint64")),
        ([0, 255], _spec("uint8", 2)),
        ([0, 2**64 - 1], _spec("uint64", None)),
        (True, _spec("bool")),
        ([True, False], _spec("bool", 2)),
        ([0.1, 2, 0.3], _spec("float32", 3)),
        ([[1, 2], [3, 4], [5, 6]], _spec("int32", None, 2)),
        ([[[]]], _spec("float32", 1, 1, None)),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_numbers(value: Any, spec: TensorSpec, is_named: bool) -> None:
    row = _read({"x": value, "other": None} if is_named else value, spec)

    expected = np.array(value, spec.dtype)
    assert list(row) == ["x"]
    assert (str(row["x"].dtype), row["x"].shape) == (spec.dtype, expected.shape)
    np.testing.assert_array_equal(row["x"], expected)


def test_a_scalar_is_no_array() -> None:
    assert isinstance(_read(0.5, _spec("float64"))["x"], np.float64)
    assert isinstance(_read(0.5, _spec("float32"))["x"], np.float32)


def test_bfloat16_comes_as_float32() -> None:
    assert _read(0.5, _spec("bfloat16"))["x"].dtype == np.float32


def test_float32_survives_the_shortest_way_of_writing_it() -> None:
    numbers = np.random.default_rng(3).standard_normal(1000).astype(np.float32)

    row = _read([float(str(number)) for number in numbers], _spec("float32", 1000))

    np.testing.assert_array_equal(row["x"], numbers)


@pytest.mark.parametrize(("value", "shape"), [([], (0, 4)), ([[], []], (2, 0, 4)), ([[], [], []], (3, 0, 4))])
def test_an_empty_list_has_the_dimensions_that_it_cannot_show(value: Any, shape: tuple[int, ...]) -> None:
    spec = _spec("float32", *(None,) * (len(shape) - 1), 4)

    assert _read(value, spec)["x"].shape == shape


@pytest.mark.parametrize(("written", "number"), [("Infinity", math.inf), ("-Infinity", -math.inf)])
def test_numbers_that_are_none_may_be_quoted(written: str, number: float) -> None:
    np.testing.assert_array_equal(_read([written, "NaN", 1], _spec("float32", 3))["x"], [number, math.nan, 1])
    assert _read(written, _spec("string"))["x"] == written


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("né", "né"),
        ("", ""),
        ({"b64": "bsOp"}, "né"),
        ({"b64": ""}, ""),
        ({"b64": "//4="}, "//4="),
        ("\udcff\udcfe", "//4="),
        (["a", {"b64": "Yg=="}], ["a", "b"]),
        ([], []),
        ([["a"], [{"b64": "//4="}]], [["a"], ["//4="]]),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_strings_are_text_and_base64_where_they_are_none(value: Any, expected: Any, is_named: bool) -> None:
    shape = np.array(expected, object).shape
    row = _read({"x": value} if is_named else value, _spec("string", *(None for _ in shape)))

    assert (row["x"].tolist() if shape else row["x"]) == expected


def test_an_output_may_be_called_like_the_mark_of_bytes() -> None:
    assert _read({"b64": 0.5}, _spec("float32", name="b64"))["b64"] == 0.5


@pytest.mark.parametrize(
    ("value", "spec", "problem"),
    [
        (None, _spec("float32"), "null is no number"),
        ([0.5, None], _spec("float32", 2), "null is no number"),
        (None, _spec("string"), "NoneType"),
        (0.5, _spec("int64"), "fractions"),
        (1.0, _spec("int64"), "fractions"),
        (True, _spec("float32"), "true or false"),
        ([0.5, False], _spec("float32", 2), "true or false"),
        (True, _spec("int64"), "true or false"),
        (1, _spec("bool"), "whole numbers"),
        ("0.5", _spec("float32"), "strings"),
        (["NaN", "none"], _spec("float32", 2), "strings"),
        ("NaN", _spec("int64"), "strings"),
        (["NaN", [1]], _spec("float32", None), "lists"),
        (["NaN", True], _spec("float32", 2), "true or false"),
        (1, _spec("string"), "whole numbers"),
        ({"b64": "eA=="}, _spec("float32"), "objects"),
        ({"b64": "not base64!"}, _spec("string"), "output x"),
        ({"b64": "é"}, _spec("string"), "output x"),
        ("\ud800", _spec("string"), "surrogates"),
        (256, _spec("uint8"), "does not fit"),
        (-1, _spec("uint64"), "output x"),
        (2**63, _spec("int64"), "output x"),
        (1.8446744073709552e19, _spec("uint64"), "fractions"),
        (10**400, _spec("float64"), "output x"),
        (10**400, _spec("int64"), "output x"),
        (1e39, _spec("float32"), "does not fit"),
        (0.5, _spec("float32", None), "shape []"),
        ([0.5], _spec("float32"), "shape [1]"),
        ([[0.5, 0.5]], _spec("float32", 2), "shape [1, 2]"),
        ([0.5] * 3, _spec("float32", 2), "shape [3]"),
        ([], _spec("float32", 2), "shape [0]"),
        ([[1, 2], [3]], _spec("float32", None, None), "different lengths"),
        ([[1], 2], _spec("float32", None, None), "different lengths"),
        ([1, [2]], _spec("float32", None), "lists"),
        ([{"a": 1}], _spec("float32", None), "objects"),
        (0.5, _spec("complex64"), "fractions"),
        (1, _spec("resource"), "output x"),
        ({"y": 1}, _spec("float32"), "there is no output 'x', but ['y']"),
        ({}, _spec("float32"), "there is no output 'x', but []"),
        ({"b64": "eA==", "more": 1}, _spec("string"), "there is no output 'x'"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_such_output_costs_one_item(value: Any, spec: TensorSpec, problem: str) -> None:
    good = {"float32": 0.5, "bool": True, "string": "a"}.get(spec.dtype, 1)

    first, bad, last = read_rows([good, value, good], (spec,))

    assert isinstance(bad, AnswerInvalid)
    assert problem in str(bad)
    str(bad).encode()
    if spec.item_shape == () and spec.dtype not in ("resource", "complex64"):
        assert isinstance(first, dict)
        assert isinstance(last, dict)


@pytest.mark.parametrize(
    ("values", "spec"),
    [
        ([1, 0.5, math.inf], _spec("float32")),
        ([1, "NaN", 2.5], _spec("bfloat16")),
        ([[1, 2], [3, 4], [5, 6]], _spec("int32", 2)),
        ([[1], [2, 3], []], _spec("int64", None)),
        ([[], [], []], _spec("float32", None, 4)),
        ([[[1]], [[2]]], _spec("float64", 1, 1)),
        (["a", "\u00e9", {"b64": "/w=="}], _spec("string")),
        ([["a", "b"], ["c", {"b64": "ZA=="}]], _spec("string", 2)),
        ([1, [2]], TensorSpec("x", "float32", None)),
    ],
)
def test_an_item_reads_the_same_alone_and_among_others(values: list[Any], spec: TensorSpec) -> None:
    together = read_rows(values, (spec,))

    for row, value in zip(together, values, strict=True):
        alone = _read(value, spec)
        assert isinstance(row, dict)
        assert type(row["x"]) is type(alone["x"])
        assert getattr(row["x"], "dtype", None) == getattr(alone["x"], "dtype", None)
        np.testing.assert_array_equal(row["x"], alone["x"])


def test_several_outputs_need_names() -> None:
    specs = (_spec("float32", name="a"), _spec("string", name="b"))

    assert _read({"a": 1, "b": "x", "c": None}, *specs) == {"a": 1, "b": "x"}
    assert "does not name its outputs" in str(_read([1, "x"], *specs))
    assert "no output 'b'" in str(_read({"a": 1}, *specs))


def test_any_rank_is_taken_where_none_is_told() -> None:
    spec = TensorSpec("x", "int64", None)

    assert _read(1, spec)["x"] == 1
    assert _read([[1], [2]], spec)["x"].shape == (2, 1)
    too_deep: Any = 1
    for _ in range(900):
        too_deep = [too_deep]
    assert isinstance(_read(too_deep, spec), AnswerInvalid)


@pytest.mark.parametrize("value", [None, {}, "text", 1, {"a": 1}])
def test_predictions_are_a_list(value: Any) -> None:
    with pytest.raises(CallFailed, match="no list of predictions; it begins with the answer") as raised:
        predictions_of(value, 1, _REPLY)
    assert raised.value.action is Action.GIVE_UP


@pytest.mark.parametrize("count", [0, 1, 3])
def test_predictions_are_as_many_as_items(count: int) -> None:
    assert predictions_of([1] * count, count, _REPLY) == [1] * count
    with pytest.raises(CallFailed, match=f"{count + 1} predictions for {count} items") as raised:
        predictions_of([1] * (count + 1), count, _REPLY)
    assert (raised.value.action, raised.value.status) == (Action.BISECT, "answer")


def test_columns_become_rows() -> None:
    columns = {"a": [1, 2], "b": [[3], [4]]}

    assert transposed(columns, 2, _REPLY) == [{"a": 1, "b": [3]}, {"a": 2, "b": [4]}]
    assert transposed([5, 6], 2, _REPLY) == [5, 6]
    assert transposed({}, 2, _REPLY) == [{}, {}]


def test_only_the_columns_that_are_wanted_must_have_a_row_for_each_item() -> None:
    columns = {"a": [1, 2], "whole_batch": 7, "short": [1]}

    assert transposed(columns, 2, _REPLY, (_spec("int64", name="a"),)) == [{"a": 1}, {"a": 2}]
    assert transposed(columns, 2, _REPLY, (_spec("int64", name="z"),)) == [{}, {}]
    with pytest.raises(CallFailed, match="1 predictions for 2 items"):
        transposed(columns, 2, _REPLY, (_spec("int64", name="short"),))


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (0.5, [TensorSpec("prediction", "float64", (None,))]),
        (3, [TensorSpec("prediction", "int64", (None,))]),
        (-(2**63) + 1, [TensorSpec("prediction", "int64", (None,))]),
        (2**63, [TensorSpec("prediction", "float64", (None,))]),
        (True, [TensorSpec("prediction", "bool", (None,))]),
        ("cat", [TensorSpec("prediction", "string", (None,))]),
        ({"b64": "eA=="}, [TensorSpec("prediction", "string", (None,))]),
        ([0.5, 1], [TensorSpec("prediction", "float64", (None, 2))]),
        ([[1, 2, 3], [4, 5, 6]], [TensorSpec("prediction", "int64", (None, 2, 3))]),
        ([], [TensorSpec("prediction", "float64", (None, None))]),
        ([[], []], [TensorSpec("prediction", "float64", (None, 2, None))]),
        ([math.nan, 1], [TensorSpec("prediction", "float64", (None, 2))]),
        ([None, 1], [TensorSpec("prediction", "float64", (None, 2))]),
        (["NaN", 1], [TensorSpec("prediction", "float64", (None, 2))]),
        (
            {"words": ["a", {"b64": "Yg=="}], "label": 3, "scores": [0.5, 0.5]},
            [
                TensorSpec("label", "int64", (None,)),
                TensorSpec("scores", "float64", (None, 2)),
                TensorSpec("words", "string", (None, 2)),
            ],
        ),
        ({}, []),
    ],
)
def test_an_answer_tells_its_outputs(prediction: Any, expected: list[TensorSpec]) -> None:
    assert list(describe_row(prediction, _REPLY)) == expected


@pytest.mark.parametrize(
    "prediction",
    [
        [[1], [2, 3]],
        [1, "a"],
        [True, 1],
        {"a": {"b": 1}},
        10**400,
        [{"label": "cat", "score": 0.5}],
        {"a": [1, [2]]},
    ],
)
def test_what_no_tensor_is_cannot_be_described(prediction: Any) -> None:
    with pytest.raises(CallFailed, match="cannot be understood") as raised:
        describe_row(prediction, _REPLY)
    assert (raised.value.action, raised.value.status) == (Action.GIVE_UP, "answer")


@pytest.mark.parametrize("prediction", [0.5, 3, True, "cat", [0.5, 1], [[1, 2]], ["a"], {"x": 1, "y": [0.5]}])
def test_what_was_described_can_be_read(prediction: Any) -> None:
    assert isinstance(_read(prediction, *describe_row(prediction, _REPLY)), dict)
