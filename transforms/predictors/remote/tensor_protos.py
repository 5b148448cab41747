"""Tensors as protocol buffers, written and read without TensorFlow.

Source: TensorFlow's `tensor.proto`, `tensor_shape.proto` and `types.proto`; for what a message means that
leaves values out, `Tensor::FromProto` in `core/framework/tensor.cc`; for strings as content,
`DecodeStringList` in `core/platform/tensor_coding.cc`; for the bytes,
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.predictors.arrays import numpy_dtype
from transforms.predictors.messages import Messages, message_classes
from transforms.predictors.saved_model_files import DTYPES, SHAPE_MESSAGES
from transforms.records import shown

Array = np.ndarray[Any, Any]

TENSOR_MESSAGES: Messages = {
    "TensorProto": {
        "dtype": (1, "int32", False),
        "shape": (2, ".Shape", False),
        "content": (4, "bytes", False),
        "float_val": (5, "float", True),
        "double_val": (6, "double", True),
        "int_val": (7, "int32", True),
        "string_val": (8, "bytes", True),
        "int64_val": (10, "int64", True),
        "bool_val": (11, "bool", True),
        "half_val": (13, "int32", True),
        "uint32_val": (16, "uint32", True),
        "uint64_val": (17, "uint64", True),
    },
    **SHAPE_MESSAGES,
}
"""What tensors are made of; `read_tensor` reads them."""

_VALUES = {
    **dict.fromkeys(("int32", "uint8", "int16", "int8", "uint16"), "int_val"),
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),  # the bits of each
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}
"""The fields that hold the values of a dtype."""

_NUMBERS = {name: number for number, name in DTYPES.items() if name in _VALUES}
_CONTENT, _STRING = (TENSOR_MESSAGES["TensorProto"][name][0] for name in ("content", "string_val"))
_FIXED = ("float32", "float64")
"""Dtypes whose values are on the wire as they are in memory."""

_MORE = 0x80  # set in each byte of a number but the last
_MAX_LENGTH_BYTES = 5  # of 32 bits, 7 a byte


def tensor_spec(tensor: Any) -> tuple[str, tuple[int, ...]]:
    """Return the dtype and the shape that a `TensorProto` has.

    Raises:
        ValueError: It is of a dtype that is not read, or its shape is none; the message is a noun phrase.
    """
    dtype = DTYPES.get(tensor.dtype, f"the type {tensor.dtype}")
    if dtype not in _VALUES:
        raise ValueError(f"a tensor of {dtype}, which is not read")
    shape = tuple(dim.size for dim in tensor.shape.dims)
    if min(shape, default=0) < 0 or tensor.shape.unknown_rank:
        raise ValueError(f"a tensor of the shape {shown(list(shape))}, which is none")
    return dtype, shape


def read_tensor(tensor: Any, max_bytes: int) -> Array:
    """Make an array of a `TensorProto`; strings become an object array of `bytes`.

    As TensorFlow has it, the last value stands for all that are not written down, and no value for zeros or
    empty strings. So a message of a few bytes may stand for a tensor of any size.

    Args:
        tensor: An instance of a class that is declared by `TENSOR_MESSAGES`.
        max_bytes: The most that the array may take; of a string, its reference counts.

    Raises:
        ValueError: It cannot be read, or is larger; the message is a noun phrase.
    """
    dtype, shape = tensor_spec(tensor)
    count = math.prod(shape)
    if count * numpy_dtype(dtype).itemsize > max_bytes:
        raise ValueError(f"a tensor of the shape {shown(list(shape))}, more than {max_bytes:,} bytes")
    try:
        values = (
            _from_content(tensor.content, dtype, count) if tensor.content else _from_values(tensor, dtype)
        )
        return _filled(values, count).reshape(shape)
    except ValueError as error:
        raise ValueError(f"a tensor of {dtype} {shown(list(shape))} with other values: {error}") from error


def _from_content(content: bytes, dtype: str, count: int) -> Array:
    if dtype == "string":
        return _as_objects(_string_list(content, count))
    if dtype == "bool":  # of which NumPy would keep other bytes than 0 and 1
        values: Array = np.frombuffer(content, np.uint8) != 0
    else:
        values = np.frombuffer(content, numpy_dtype(dtype).newbyteorder("<")).astype(numpy_dtype(dtype))
    if len(values) != count:
        raise ValueError(f"its content is of {len(values):,}")
    return values


def _string_list(content: bytes, count: int) -> list[bytes]:
    """Take strings apart that are the content of a tensor: the lengths of all, and then all of them."""
    lengths, position = [], 0
    for _ in range(count):
        length, position = _read_varint(content, position)
        lengths.append(length)
    if sum(lengths) != len(content) - position:
        raise ValueError("its strings are of other lengths")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for digit, byte in enumerate(content[position : position + _MAX_LENGTH_BYTES]):
        value |= (byte & 0x7F) << 7 * digit
        if byte < _MORE:
            return value, position + digit + 1
    raise ValueError("its strings are cut off")


def _from_values(tensor: Any, dtype: str) -> Array:
    field = _VALUES[dtype]
    values = getattr(tensor, field)
    if dtype == "string":
        return _as_objects(values)
    if dtype in _FIXED:
        return _packed(tensor, field, numpy_dtype(dtype))
    if field == "half_val":
        return np.fromiter(values, np.int64, len(values)).astype(np.uint16).view(numpy_dtype(dtype))
    wide = np.int64 if field == "int_val" else numpy_dtype(dtype)
    return np.fromiter(values, wide, len(values)).astype(numpy_dtype(dtype))


def _packed(tensor: Any, field: str, dtype: np.dtype[Any]) -> Array:
    """Take values from their bytes in the message, which is faster than one Python number after another."""
    alone = type(tensor)()
    alone.CopyFrom(tensor)
    alone.DiscardUnknownFields()
    for declared, _ in alone.ListFields():
        if declared.name != field:
            alone.ClearField(declared.name)
    content, size = alone.SerializeToString(), len(getattr(alone, field)) * dtype.itemsize
    return np.frombuffer(content[len(content) - size :], dtype.newbyteorder("<")).astype(dtype)


def _filled(values: Array, count: int) -> Array:
    """Add the values that are not written down."""
    missing = count - len(values)
    if missing < 0:
        raise ValueError(f"there are {len(values):,}")
    if not missing:
        return values
    if not len(values):
        return _as_objects([b""] * count) if values.dtype == object else np.zeros(count, values.dtype)
    return np.concatenate([values, np.repeat(values[-1:], missing)])


def _as_objects(values: Sequence[bytes]) -> Array:
    array = np.empty(len(values), object)  # np.array() would cut bytes at their last zeros
    array[:] = values
    return array


def field(number: int, chunks: Sequence[bytes]) -> list[bytes]:
    """Write a field that has a length (a message, a string, bytes) without joining what it is made of."""
    return [_varint(number << 3 | 2) + _varint(sum(map(len, chunks))), *chunks]


def _varint(value: int) -> bytes:
    if value < _MORE:
        return bytes((value,))
    return bytes((value & 0x7F | _MORE,)) + _varint(value >> 7)


def encode_value(value: Any) -> tuple[bytes, bytes, tuple[int, ...]]:
    """Encode a value, so that it can be part of a batch.

    Args:
        value: `bytes`, `str`, or a NumPy array or scalar; names of files need not be UTF-8.

    Returns:
        What `tensor_chunks` takes, a header and a payload; and the shape.

    Raises:
        ValueError: It is of a type that tensors do not have; the message is a noun phrase.
    """
    if isinstance(value, (bytes, str)):
        return _header("string", ()), _string(value), ()
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        return _header("string", array.shape), b"".join(map(_string, array.ravel().tolist())), array.shape
    dtype = array.dtype.name
    if dtype not in _NUMBERS:
        raise ValueError(f"an array of {dtype}, which is not sent")
    little = array.astype(array.dtype.newbyteorder("<")) if array.dtype.byteorder == ">" else array
    return _header(dtype, array.shape), little.tobytes(), array.shape


def tensor_chunks(header: bytes, payloads: Sequence[bytes], count: int | None = None) -> list[bytes]:
    """Write a `TensorProto`, in chunks.

    Args:
        header: Of the first value; those of the others must be equal.
        payloads: Of all values.
        count: The size of the batch; None where there is none, but one value as it is.
    """
    tensor = _classes()["TensorProto"].FromString(header)
    is_string = DTYPES[tensor.dtype] == "string"
    if count is not None:
        sizes = [count, *(dim.size for dim in tensor.shape.dims)]
        header = _header(DTYPES[tensor.dtype], sizes)
    return [header, *(payloads if is_string else field(_CONTENT, payloads))]


def _header(dtype: str, shape: Sequence[int]) -> bytes:
    tensor = _classes()["TensorProto"](dtype=_NUMBERS[dtype])
    tensor.shape.SetInParent()  # a scalar's has no dimensions
    for size in shape:
        tensor.shape.dims.add(size=size)
    header: bytes = tensor.SerializeToString()
    return header


def _string(value: Any) -> bytes:
    try:
        content = value.encode(errors="surrogateescape") if isinstance(value, str) else value
    except UnicodeEncodeError as error:
        raise ValueError(f"text that cannot be encoded, {shown(value)}") from error
    if not isinstance(content, bytes):
        raise ValueError(f"an array with {shown(value)}, which is no string")
    return b"".join(field(_STRING, [content]))


@functools.cache
def _classes() -> dict[str, Any]:
    return message_classes(TENSOR_MESSAGES)
