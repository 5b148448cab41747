"""Values in the JSON of TensorFlow Serving, read strictly and written as it writes them.

Source: `json_tensor.cc` in github.com/tensorflow/serving, whose words the refusals have.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from transforms.predictors.base import TensorSpec
from transforms.predictors.functions import Tensors

_CHECKED_FOR_REPETITION = 1 << 18


class Refused(Exception):
    """A request is answered with an error.

    Attributes:
        status: Of HTTP.
        is_violation: Whether no correct client would have sent it, whatever its items.
    """

    def __init__(self, message: str, status: int = 400, *, is_violation: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.is_violation = is_violation


def read_json(body: bytes, *, with_nan: bool) -> dict[str, Any]:
    """Read a request's body, an object without repeated names; NaN and Infinity only where they are taken."""
    try:
        read = _parsed(body, with_nan)
        if len(body) < _CHECKED_FOR_REPETITION:  # orjson keeps the last of equal names in silence
            json.loads(body, object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise Refused(f"JSON Parse error: {error}") from error
    if not isinstance(read, dict):
        raise Refused("JSON Value: Is not object")
    return read


def _parsed(body: bytes, with_nan: bool) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if not with_nan:
            raise
        return json.loads(body)


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError(f"a name is repeated: {[name for name, _ in pairs]}")
    return read


def read_value(value: Any, spec: TensorSpec, shape: tuple[int | None, ...] | None) -> np.ndarray[Any, Any]:
    """Make an array of an input's value; strings become `bytes`.

    Args:
        value: As JSON has it.
        spec: The input.
        shape: The dimensions that it must have; None for any.
    """
    found = _shape(value)
    if spec.dtype == "string":
        flat = np.empty(int(np.prod(found)), object)
        flat[:] = [_string(leaf) for leaf in _leaves(value, found)]
        array = flat.reshape(found)
    else:
        leaves = [_number(leaf, spec.dtype) for leaf in _leaves(value, found)]
        try:
            array = np.array(leaves, spec.dtype).reshape(found)
        except OverflowError as error:
            raise Refused(f"{spec.name}: {error}") from error
    fits = shape is None or (
        len(found) == len(shape)
        and all(size in (None, there) for size, there in zip(shape, found, strict=True))
    )
    if not fits:
        raise Refused(f"{spec.name}: the shape {list(found)} is incompatible with {spec}")
    return array


def rows_json(outputs: Tensors, specs: Sequence[TensorSpec]) -> list[bytes]:
    """Write the outputs of each item; one output has no name."""
    written = {spec.name: [_json(row, spec.name) for row in outputs[spec.name]] for spec in specs}
    if len(specs) == 1:
        return written[specs[0].name]
    count = len(written[specs[0].name])
    return [_object({name: values[index] for name, values in written.items()}) for index in range(count)]


def columns_json(outputs: Tensors, specs: Sequence[TensorSpec]) -> bytes:
    """Write outputs one by one; a single one has no name."""
    if len(specs) == 1:
        return _json(outputs[specs[0].name], specs[0].name)
    return _object({spec.name: _json(outputs[spec.name], spec.name) for spec in specs})


def _shape(value: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _leaves(value: Any, shape: tuple[int, ...]) -> list[Any]:
    if not shape:
        if isinstance(value, list):
            raise Refused("Encountered list at unexpected level")
        return [value]
    if not isinstance(value, list):
        raise Refused(f"JSON Value: {str(value)[:50]} found at incorrect level in the JSON DOM.")
    if len(value) != shape[0]:
        raise Refused(f"Encountered list at unexpected size: {len(value)} expected size: {shape[0]}")
    return [leaf for item in value for leaf in _leaves(item, shape[1:])]


def _string(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not (isinstance(value, Mapping) and value.keys() == {"b64"} and isinstance(value["b64"], str)):
        raise Refused(f"JSON Value: {str(value)[:50]} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("Unable to base64 decode") from error


def _number(value: Any, dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    is_bool = isinstance(value, bool)
    whole = isinstance(value, int) and not is_bool
    taken = is_bool if kind == "b" else whole or (kind == "f" and isinstance(value, float))
    if not taken:
        raise Refused(f"JSON Value: {str(value)[:50]} is not of expected type: {dtype}")
    return value


def _json(value: Any, name: str) -> bytes:
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        return json.dumps(_texts(array.tolist(), name.endswith("_bytes"))).encode()
    if array.dtype.kind != "f":
        return orjson.dumps(array.tolist())
    written = np.array([float(str(number)) for number in array.ravel()], np.float64)  # 0.2 of float32 is 0.2
    return json.dumps(written.reshape(array.shape).tolist()).encode()


def _texts(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_texts(item, as_bytes) for item in value]
    encoded = value.encode() if isinstance(value, str) else value
    return {"b64": base64.b64encode(encoded).decode()} if as_bytes else encoded.decode()


def _object(values: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (orjson.dumps(name), value) for name, value in values.items())
