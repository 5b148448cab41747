"""How items become the inputs of a signature.

One input takes the item itself: the name of its file, the file's bytes, or the image that they encode. The
others take the item's attributes, by name, or constants.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from transforms.errors import AttributeInvalid, AttributeMissing, ContractError, ItemError
from transforms.predictors.arrays import cast, numpy_dtype
from transforms.predictors.base import InputKind, TensorSpec
from transforms.predictors.functions import Tensors
from transforms.records import FileBytes, shown

Values = Mapping[str, Any]
"""What one item gives to each input."""


class ImageDecoder(Protocol):
    """Makes arrays of encoded images."""

    def decode(self, contents: Sequence[bytes]) -> Sequence[np.ndarray[Any, Any] | ItemError]:
        """Return an array of the input's item shape and dtype for each image, or why there is none."""


@dataclass(frozen=True)
class Constant:
    """The value that an input has for every item."""

    spec: TensorSpec
    value: np.ndarray[Any, Any]

    def batch(self, count: int) -> np.ndarray[Any, Any]:
        """Repeat the value for each item, unless the input has no batch dimension."""
        if self.spec.shape == ():
            return self.value
        return np.broadcast_to(self.value, (count, *self.value.shape))


@dataclass(frozen=True)
class Feed:
    """How to feed one signature.

    Attributes:
        item: The input that takes the item.
        kind: What of the item it takes.
        decoder: Makes arrays of the bytes, where `kind` is `images`.
        attributes: The inputs that take attributes.
        constants: The values of the others.
    """

    item: TensorSpec
    kind: InputKind
    decoder: ImageDecoder | None = None
    attributes: tuple[TensorSpec, ...] = ()
    constants: tuple[Constant, ...] = ()

    def prepare(self, batch: Sequence[FileBytes]) -> list[Values | ItemError]:
        """Take from each item what the inputs take, or tell why that cannot be."""
        return [
            value if isinstance(value, ItemError) else self._with_attributes(item, value)
            for item, value in zip(batch, self._items(batch), strict=True)
        ]

    def stack(self, values: Sequence[Values]) -> Tensors:
        """Put the values of several items together into a batch."""
        specs = (self.item, *self.attributes)
        stacked = {spec.name: _stack([value[spec.name] for value in values]) for spec in specs}
        repeated = {constant.spec.name: constant.batch(len(values)) for constant in self.constants}
        return stacked | repeated

    def _items(self, batch: Sequence[FileBytes]) -> Sequence[Any]:
        if self.kind == "names":
            return [item.ref.uri for item in batch]
        contents = [_content(item) for item in batch]
        return self.decoder.decode(contents) if self.decoder else contents

    def _with_attributes(self, item: FileBytes, value: Any) -> Values | ItemError:
        try:
            taken = {spec.name: _attribute(item, spec) for spec in self.attributes}
        except ItemError as error:
            return error
        return {self.item.name: value, **taken}


def parse_value(given: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    """Make a tensor of what a user gave for one item of an input.

    Args:
        given: A JSON value, or text that is one; for a string, any text.
        spec: The input.

    Returns:
        An array of the input's dtype and item shape.

    Raises:
        ValueError: It is none; the message says what was wanted and what was got.
    """
    try:
        value = _from_text(given, spec)
        array = _array(value, spec.dtype)
        valid = _is_of_kind(value, spec.dtype) and spec.accepts_item(array.shape)
    except (ValueError, TypeError, OverflowError, RecursionError):
        valid = False
    if not valid:
        raise ValueError(f"must be {spec.dtype} of the shape {_shape(spec)}; got {shown(given)}")
    return array


def _from_text(given: Any, spec: TensorSpec) -> Any:
    is_text = isinstance(given, str) and (spec.dtype != "string" or spec.item_shape not in ((), None))
    return json.loads(given, parse_float=_finite) if is_text else given


def _finite(text: str) -> float:
    """Make a number of digits, which do not mean infinity however many they are."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


def _array(value: Any, dtype: str) -> np.ndarray[Any, Any]:
    if _is_float(dtype):
        return cast(np.asarray(value, np.float64), numpy_dtype(dtype))
    array = np.asarray(value, numpy_dtype(dtype))
    if not np.array_equal(array, np.asarray(value)):
        raise ValueError(f"it does not fit into {dtype}")
    return array


def _is_of_kind(value: Any, dtype: str) -> bool:
    if isinstance(value, list):
        return all(_is_of_kind(item, dtype) for item in value)
    if dtype == "string":
        return isinstance(value, str)
    if dtype == "bool":
        return isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (_is_float(dtype) and isinstance(value, float))


def _is_float(dtype: str) -> bool:
    return "float" in dtype  # bfloat16 is one as well


def _shape(spec: TensorSpec) -> str:
    if spec.item_shape is None:
        return "any"
    return str(["any" if size is None else size for size in spec.item_shape])


def _content(item: FileBytes) -> bytes:
    if item.content is None:
        raise ContractError(f"{item.ref.uri} came without its bytes, which the model takes")
    return item.content


def _stack(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    if isinstance(values[0], np.ndarray):
        return np.stack(values)
    stacked = np.empty(len(values), object)  # np.array() would cut bytes at their last zeros
    stacked[:] = values
    return stacked


def _attribute(item: FileBytes, spec: TensorSpec) -> Any:
    if spec.name not in item.ref.attributes:
        raise AttributeMissing(f"{item.ref.uri} has no attribute {spec.name!r}, which the signature takes")
    try:
        return parse_value(item.ref.attributes[spec.name], spec)
    except ValueError as error:
        raise AttributeInvalid(f"{item.ref.uri}: attribute {spec.name!r} {error}") from error
