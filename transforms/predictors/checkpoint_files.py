"""What `variables.index` says of the files of weights beside it, read without TensorFlow.

The index is a sorted table of strings, as LevelDB writes them; its values are protocol buffers: one header,
and for each tensor the shard that holds it, and where. So the index tells how long each shard is at least,
and a shard that is still being copied is told from a whole one without reading it. Source of the format:
`tensorflow/core/util/tensor_bundle/`, `core/lib/io/format.h` and `core/protobuf/tensor_bundle.proto`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf import message

from transforms.predictors.messages import Messages, message_classes

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_UNCOMPRESSED = b"\0"
_HEADER_KEY = b""
_MAX_SHARDS = 100_000  # more than five digits are for

_MESSAGES: Messages = {
    "Header": {"num_shards": (1, "int32", False)},
    "Entry": {"shard": (3, "int32", False), "offset": (4, "int64", False), "size": (5, "int64", False)},
}


def shard_sizes(index: bytes) -> dict[str, int]:
    """Return the least size of each file of weights, by its ending, such as `data-00000-of-00001`.

    Args:
        index: The content of `variables.index`.

    Raises:
        ValueError: It is not the whole of such an index.
    """
    classes = _classes()
    try:
        entries = dict(_entries(index))
        count = classes["Header"].FromString(entries.pop(_HEADER_KEY)).num_shards
        sizes: dict[int, int] = {}
        for entry in map(classes["Entry"].FromString, entries.values()):
            sizes[entry.shard] = max(sizes.get(entry.shard, 0), entry.offset + entry.size)
    except (message.DecodeError, struct.error, IndexError, KeyError) as error:
        raise ValueError("it is cut off or damaged") from error
    if not 0 < count <= _MAX_SHARDS or not all(0 <= shard < count for shard in sizes):
        raise ValueError("it is damaged: no model is in so many files of weights")
    return {f"data-{shard:05}-of-{count:05}": size for shard, size in sizes.items()}


class _Handle(NamedTuple):
    """Where a block of the table is."""

    offset: int
    size: int


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """List the keys and values of a table."""
    footer = table[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or struct.unpack("<Q", footer[-8:]) != (_MAGIC,):
        raise ValueError("it does not end as an index does")
    _, position = _handle(footer, 0)  # of the meta index, which holds nothing
    blocks, _ = _handle(footer, position)
    for _, value in _block_entries(table, blocks):
        yield from _block_entries(table, _handle(value, 0)[0])


def _block_entries(table: bytes, handle: _Handle) -> Iterator[tuple[bytes, bytes]]:
    """List a block's entries; a key holds only what differs from the key before it."""
    end = handle.offset + handle.size
    if table[end : end + 1] != _UNCOMPRESSED:  # TensorFlow never compresses it
        raise ValueError("it is compressed")
    block = table[handle.offset : end]
    (restarts,) = struct.unpack("<I", block[-4:])
    position, key = 0, b""
    while position < len(block) - 4 * (restarts + 1):
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        position += own + length
        yield key, block[position - length : position]


def _handle(data: bytes, position: int) -> tuple[_Handle, int]:
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return _Handle(offset, size), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a number of as many bytes as it needs, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004  the highest bit says that there are more
            return value, position


@functools.cache
def _classes() -> dict[str, Any]:
    return message_classes(_MESSAGES)
