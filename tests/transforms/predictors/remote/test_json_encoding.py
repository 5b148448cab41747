"""Values as JSON, compared with what the standard library reads."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from transforms.errors import InstanceRefused
from transforms.predictors.remote.json_encoding import (
    encode_instance,
    encode_named,
    encode_value,
    instances_body,
    refuse_shared,
)

_BYTES = [b"", b"\0", b"\xff\xd8\xff", b"text", bytes(range(256)), b"x" * 10_001]
_TEXTS = [
    "",
    "a",
    'say "hi"',
    "back\\slash",
    "line\nbreak\r\t",
    "\0\x01\x1f\x7f",
    "é ü 漢字 🎈",
    "\u2028",
    "</script>",
]


@pytest.mark.parametrize("content", _BYTES)
def test_bytes_are_base64(content: bytes) -> None:
    read = json.loads(encode_value(content))

    assert list(read) == ["b64"]
    assert base64.b64decode(read["b64"], validate=True) == content


@pytest.mark.parametrize("text", _TEXTS)
def test_text_comes_back_as_it_was(text: str) -> None:
    assert json.loads(encode_value(text)) == text


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
def test_whole_numbers_are_exact_to_their_ends(dtype: str) -> None:
    ends = np.iinfo(dtype)
    array = np.array([ends.min, 0, 1, ends.max], dtype)

    assert json.loads(encode_value(array)) == [ends.min, 0, 1, ends.max]
    assert json.loads(encode_value(array[3])) == ends.max
    assert json.loads(encode_value(np.array(ends.min, dtype))) == ends.min


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_come_back_as_they_were(dtype: str) -> None:
    ends = np.finfo(dtype)  # type: ignore[arg-type]
    random = np.random.default_rng(7).standard_normal(500)
    array = np.concatenate(
        [random, [0.0, -0.0, 0.1, 1 / 3, ends.max, ends.min, ends.tiny, ends.smallest_subnormal]]
    ).astype(dtype)

    read = np.array(json.loads(encode_value(array)), np.float64).astype(dtype)

    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(np.signbit(read), np.signbit(array))
    assert all(np.array(json.loads(encode_value(value)), dtype) == value for value in array[-20:])


def test_bfloat16_is_written_like_other_floats() -> None:
    array = np.array([0.1, -3.0, 1e30], ml_dtypes.bfloat16)

    read = np.array(json.loads(encode_value(array)), np.float64)

    np.testing.assert_array_equal(read.astype(ml_dtypes.bfloat16), array)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_numbers_that_are_none_are_not_lost(dtype: str) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    array = np.array([[math.nan, math.inf], [-math.inf, 1.5]], kind)

    assert encode_value(array).replace(b" ", b"") == b"[[NaN,Infinity],[-Infinity,1.5]]"
    assert encode_value(array[0, 0]) == b"NaN"
    assert encode_value(np.array(-math.inf, kind)) == b"-Infinity"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (np.True_, True),
        (np.array([[True], [False]]), [[True], [False]]),
        (7, 7),
        (0.5, 0.5),
        (np.zeros((0,), np.float32), []),
        (np.zeros((2, 0), np.int64), [[], []]),
        (np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
        (np.arange(10)[::3], [0, 3, 6, 9]),
        (np.arange(3, dtype=">i4"), [0, 1, 2]),
        (np.array(0.5, ">f8"), 0.5),
        (np.broadcast_to(np.float32(2), (2, 2)), [[2, 2], [2, 2]]),
        (np.array("text", object), "text"),
        (np.array(b"ab", object), {"b64": "YWI="}),
        (np.array([["a", "b"], ["c", b"d"]], object), [["a", "b"], ["c", {"b64": "ZA=="}]]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.zeros((0, 2), object), []),
    ],
)
def test_values_of_other_forms(value: Any, expected: Any) -> None:
    read = json.loads(encode_value(value))

    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        "file-\udcff.jpg",
        "\ud800",
        np.array(["a", "\udcff"], object),
        np.array([1j]),
        None,
        np.array([None]),
        {},
    ],
)
def test_what_json_has_nothing_for_costs_one_item(value: Any) -> None:
    with pytest.raises(InstanceRefused, match=r"JSON") as raised:
        encode_value(value)
    str(raised.value).encode()


def test_an_instance_names_its_inputs() -> None:
    array = np.ones((2, 3), np.float32)
    item = encode_instance({"b": "x", 'a "quoted"': b"y", "c": array, "d": np.float32(1)})

    assert json.loads(item.parts[0]) == {
        'a "quoted"': {"b64": "eQ=="},
        "b": "x",
        "c": [[1, 1, 1]] * 2,
        "d": 1,
    }
    assert item.shapes == ((2, 3),)


def test_an_input_without_a_name_is_the_whole_instance() -> None:
    assert json.loads(encode_instance({"": np.arange(3)}).parts[0]) == [0, 1, 2]
    assert json.loads(encode_instance({"": b"ab"}).parts[0]) == {"b64": "YWI="}


def test_several_inputs_need_names() -> None:
    with pytest.raises(InstanceRefused, match="has no name"):
        encode_named({"": b"ab", "x": 1})


@pytest.mark.parametrize("count", [0, 1, 3])
def test_items_add_no_more_than_their_sizes(count: int) -> None:
    items = [encode_instance({"x": f"é{number}", "y": b"abc"}) for number in range(count)]
    others = [(b'"signature_name"', (b'"s"',))]

    body = instances_body(items, others)

    expected = [{"x": f"é{number}", "y": {"b64": "YWJj"}} for number in range(count)]
    assert json.loads(body) == {"signature_name": "s", "instances": expected}
    assert len(body) <= len(instances_body([], others)) + sum(item.size for item in items)


def test_an_input_without_a_batch_dimension_is_refused_with_the_remedy() -> None:
    refuse_shared({}, "do this")
    with pytest.raises(ValueError, match=r"'k' has no batch dimension.*do this"):
        refuse_shared({"k": np.array(1)}, "do this")
