"""How items, their attributes and constants become the inputs of a signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from transforms.errors import AttributeInvalid, AttributeMissing, ContractError, DecodeError, ItemError
from transforms.predictors.arrays import numpy_dtype
from transforms.predictors.base import TensorSpec
from transforms.predictors.feed import Constant, Feed, parse_value
from transforms.records import FileBytes, FileRef

NAMES = TensorSpec("filenames", "string", (None,))
NUMBER = TensorSpec("number", "int64", (None,))


def item(uri: str = "a.png", content: bytes | None = b"a", **attributes: Any) -> FileBytes:
    return FileBytes(FileRef(uri, attributes=attributes), content)


class EverySecond:
    """Decodes items to their length, but for those at odd positions."""

    def decode(self, contents: Sequence[bytes]) -> Sequence[np.ndarray[Any, Any] | ItemError]:
        return [
            DecodeError("odd") if position % 2 else np.float32([len(content)])
            for position, content in enumerate(contents)
        ]


def values(prepared: Any) -> Mapping[str, Any]:
    assert isinstance(prepared, Mapping), prepared
    return prepared


def test_names_are_fed_without_bytes() -> None:
    feed = Feed(NAMES, "names")

    prepared = [values(one) for one in feed.prepare([item("a", None), item("b", None)])]
    stacked = feed.stack(prepared)["filenames"]

    assert stacked.dtype == object
    assert stacked.tolist() == ["a", "b"]


def test_bytes_are_fed_to_their_last_zero() -> None:
    feed = Feed(TensorSpec("image_bytes", "string", (None,)), "bytes")

    prepared = [values(one) for one in feed.prepare([item(content=b"a\0\0"), item(content=b"")])]

    assert feed.stack(prepared)["image_bytes"].tolist() == [b"a\0\0", b""]


def test_bytes_that_were_not_read_break_the_contract() -> None:
    with pytest.raises(ContractError, match=r"a\.png came without its bytes"):
        Feed(TensorSpec("image_bytes", "string", (None,)), "bytes").prepare([item(content=None)])


def test_what_cannot_be_decoded_costs_only_itself() -> None:
    feed = Feed(TensorSpec("images", "float32", (None, 1)), "images", EverySecond())

    first, second, third = feed.prepare([item(content=b"a"), item(content=b"b"), item(content=b"ccc")])

    assert isinstance(second, DecodeError)
    np.testing.assert_array_equal(feed.stack([values(first), values(third)])["images"], [[1], [3]])


def test_attributes_fill_the_other_inputs_and_stay_with_their_items() -> None:
    feed = Feed(NAMES, "names", attributes=(NUMBER, TensorSpec("box", "float32", (None, 2))))

    prepared = [
        values(one) for one in feed.prepare([item(number="7", box="[1, 2.5]"), item(number=8, box=[3, 4])])
    ]
    stacked = feed.stack(prepared)

    assert stacked["number"].dtype == np.int64
    assert stacked["number"].tolist() == [7, 8]
    assert stacked["box"].tolist() == [[1, 2.5], [3, 4]]


def test_a_missing_or_wrong_attribute_costs_only_its_item() -> None:
    feed = Feed(NAMES, "names", attributes=(NUMBER,))

    missing, wrong, right = feed.prepare([item(), item("b.png", number="many"), item(number="1")])

    assert isinstance(missing, AttributeMissing)
    assert str(missing) == "a.png has no attribute 'number', which the signature takes"
    assert isinstance(wrong, AttributeInvalid)
    assert str(wrong) == "b.png: attribute 'number' must be int64 of the shape []; got 'many'"
    assert values(right)["number"] == 1


def test_an_image_that_cannot_be_decoded_is_told_before_its_attributes() -> None:
    feed = Feed(TensorSpec("images", "float32", (None, 1)), "images", EverySecond(), (NUMBER,))

    _, second = feed.prepare([item(number=1), item()])

    assert isinstance(second, DecodeError)


def test_constants_are_repeated_for_each_item_unless_the_input_has_no_batch() -> None:
    each = Constant(TensorSpec("threshold", "float32", (None,)), np.array(0.5, np.float32))
    once = Constant(TensorSpec("training", "bool", ()), np.array(False))
    feed = Feed(NAMES, "names", constants=(each, once))

    stacked = feed.stack([values(one) for one in feed.prepare([item("a"), item("b"), item("c")])])

    assert stacked["threshold"].tolist() == [0.5, 0.5, 0.5]
    assert stacked["training"].shape == ()


TAKEN: dict[str, tuple[Any, str, tuple[int | None, ...] | None, Any]] = {
    "a number": (7, "int64", (None,), 7),
    "a number as text": ("7", "int64", (None,), 7),
    "a whole number for a float": ("7", "float32", (None,), 7.0),
    "a float": ("0.1", "float32", (None,), np.float32(0.1)),
    "no number": ("NaN", "float32", (None,), np.nan),
    "infinity": ("-Infinity", "float32", (None,), -np.inf),
    "a float of half the bits": ("0.5", "bfloat16", (None,), 0.5),
    "floats of half the bits": ([0.5, 2], "bfloat16", (None, 2), [0.5, 2]),
    "infinity of half the bits": ("Infinity", "bfloat16", (None,), np.inf),
    "a whole number beyond any, for a float": (1 << 80, "float32", (None,), 2.0**80),
    "the largest float": ("65504", "float16", (None,), 65504),
    "truth": ("true", "bool", (None,), True),
    "a vector": ("[1, 2]", "float32", (None, 2), [1.0, 2.0]),
    "a vector of any length": ([1, 2, 3], "int32", (None, None), [1, 2, 3]),
    "a matrix": ("[[1], [2]]", "uint8", (None, 2, 1), [[1], [2]]),
    "text": ("7", "string", (None,), "7"),
    "text that looks like a list": ("[1]", "string", (None,), "[1]"),
    "texts": ('["a", "b"]', "string", (None, 2), ["a", "b"]),
    "anything": ("[1, 2]", "float32", None, [1.0, 2.0]),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_value_becomes_a_tensor_of_the_signatures_type(kind: str) -> None:
    given, dtype, shape, expected = TAKEN[kind]

    found = parse_value(given, TensorSpec("x", dtype, shape))

    assert found.dtype == numpy_dtype(dtype)
    np.testing.assert_array_equal(found, np.array(expected, found.dtype))


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


REFUSED: dict[str, tuple[Any, str, tuple[int | None, ...] | None]] = {
    "text for a number": ("seven", "int64", (None,)),
    "nothing": ("", "float32", (None,)),
    "null": (None, "float32", (None,)),
    "a fraction for a whole number": ("7.5", "int64", (None,)),
    "truth for a number": (True, "int64", (None,)),
    "a number for truth": (1, "bool", (None,)),
    "too large": (300, "uint8", (None,)),
    "below 0": ("-1", "uint8", (None,)),
    "larger than any": (1 << 80, "int64", (None,)),
    "a float that is too large": ("1e39", "float32", (None,)),
    "a float that is too large for half the bits": ([0.5, 1e39], "bfloat16", (None, 2)),
    "a float that is too large for any": ("1e400", "float64", (None,)),
    "a whole number that is too large for a float": (1000000, "float16", (None,)),
    "one that is too large beside infinity": ("[Infinity, -1e39]", "float32", (None, 2)),
    "too few": ([1], "float32", (None, 2)),
    "uneven rows": ([[1], [2, 3]], "float32", (None, 2, None)),
    "a vector for a number": ([1], "float32", (None,)),
    "a number for a vector": ("1", "float32", (None, 2)),
    "an object": ('{"a": 1}', "float32", (None,)),
    "a number for text": (7, "string", (None,)),
    "broken JSON": ("[1, ", "float32", (None, 2)),
    "JSON that is nested too deep to be read": ("[" * 100_000, "float32", (None, 2)),
    "a list that is nested too deep": ("[" * 100_000 + "]" * 100_000, "float32", (None, 2)),
    "lists that are nested too deep to be shown": (nested(100_000), "float32", (None, 2)),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("error")
def test_a_value_of_another_type_is_refused(kind: str) -> None:
    given, dtype, shape = REFUSED[kind]

    with pytest.raises(ValueError, match=f"must be {dtype} of the shape"):
        parse_value(given, TensorSpec("x", dtype, shape))


@pytest.mark.parametrize("text", ["7" * 1_000_000, "[" * 1_000_000])
def test_a_long_text_is_not_told_in_full(text: str) -> None:
    feed = Feed(NAMES, "names", attributes=(NUMBER,))

    (wrong,) = feed.prepare([item(number=text)])

    assert isinstance(wrong, AttributeInvalid)
    assert len(str(wrong)) < 300
    assert str(wrong).endswith("...")
