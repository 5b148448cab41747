"""Values as JSON, written quickly: TensorFlow Serving's form, which KServe and Vertex AI share.

Bytes are `{"b64": "..."}`; numbers that are none are written as NaN, Infinity and -Infinity, without quotes.
Source: tensorflow.org/tfx/serving/api_rest, "Encoding binary values" and "JSON conformance".
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson

from transforms.errors import InstanceRefused
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.wire import EncodedItem
from transforms.records import shown

Pieces = Sequence[bytes]
"""What is yet to be joined: once, since a copy of a request takes as long as encoding it."""

Pair = tuple[bytes, Pieces]
"""An encoded name and an encoded value."""


def encode_text(text: str) -> bytes:
    """Write text.

    Raises:
        InstanceRefused: It is not UTF-8, as the name of a local file may be.
    """
    try:
        return orjson.dumps(text)
    except TypeError as error:
        raise InstanceRefused(f"{shown(text)} is not UTF-8, which JSON must be") from error


def encode_value(value: Any) -> bytes:
    """Write the value of an input.

    Args:
        value: `bytes`, `str`, a number, or an array of one of these.

    Raises:
        InstanceRefused: JSON has nothing for it.
    """
    if isinstance(value, bytes):
        return b"".join((b'{"b64":"', binascii.b2a_base64(value, newline=False), b'"}'))
    if isinstance(value, str):
        return encode_text(value)
    array = np.asarray(value)
    return _strings(array.tolist()) if array.dtype.kind in "OSU" else _numbers(array)


def encode_json(value: Any) -> bytes:
    """Write a value that came from JSON, with numbers that are none as they came."""
    return json.dumps(value, separators=(",", ":")).encode()


def encode_instance(values: Values) -> EncodedItem:
    """Write an item as an instance: an object of its values by name, or the value of an input without one.

    Raises:
        InstanceRefused: See `encode_value`; or one of several inputs has no name.
    """
    is_bare = values.keys() == {""}
    instance = encode_value(values[""]) if is_bare else b"".join(object_pieces(encode_named(values)))
    return EncodedItem((instance,), len(instance) + 1, shapes_of(values))


def encode_named(values: Values) -> list[Pair]:
    """Write an item's values, each in one piece, with their names, sorted by these.

    Raises:
        InstanceRefused: See `encode_instance`.
    """
    if "" in values and len(values) > 1:
        raise InstanceRefused(f"one of the inputs {sorted(values)} has no name, which JSON's objects need")
    return [(encode_text(name), (encode_value(values[name]),)) for name in sorted(values)]


def shapes_of(values: Values) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of an item's arrays, sorted by the names of their inputs."""
    named = (values[name] for name in sorted(values))
    return tuple(value.shape for value in named if isinstance(value, np.ndarray))


def instances_body(items: Sequence[EncodedItem], others: Sequence[Pair]) -> bytes:
    """Write a request of instances.

    Args:
        items: What `encode_instance` made.
        others: What the request has beside them, encoded, with their names.
    """
    instances = list_pieces(item.parts[0] for item in items)
    return b"".join(object_pieces([*others, (b'"instances"', instances)]))


def object_pieces(pairs: Iterable[Pair]) -> Pieces:
    """Put encoded values with their encoded names together."""
    pieces = [piece for name, value in pairs for piece in (b",", name, b":", *value)]
    return [b"{", *pieces[1:], b"}"]


def list_pieces(values: Iterable[bytes]) -> Pieces:
    """Put encoded values together."""
    pieces = [piece for value in values for piece in (b",", value)]
    return [b"[", *pieces[1:], b"]"]


def refuse_shared(shared: Tensors, remedy: str) -> None:
    """See that no input lacks a batch dimension: a request of instances has no place for its value.

    Raises:
        ValueError: One does.
    """
    if shared:
        raise ValueError(f"input {min(shared)!r} has no batch dimension, which instances need: {remedy}")


def _strings(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(list_pieces(map(_strings, value)))
    if not isinstance(value, (bytes, str)):
        raise InstanceRefused(f"JSON has nothing for {shown(value)}")
    return encode_value(value)


def _numbers(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return encode_json(array.tolist())  # since orjson writes null
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")) if array.ndim else array[()]
    try:
        return orjson.dumps(native, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise InstanceRefused(f"JSON has nothing for numbers of {array.dtype}") from error
