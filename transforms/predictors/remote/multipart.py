"""One upload a request, as a form of a web page makes it; the answer is `{"result": ...}`.

Source: RFC 7578 for the form; html.spec.whatwg.org, "Multipart form data", for names with special characters.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.errors import InstanceRefused
from transforms.predictors.base import TensorSpec
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.json_decoding import answer_failed, read_answer
from transforms.predictors.remote.json_encoding import encode_value
from transforms.predictors.remote.json_outputs import describe_row, predictions_of, read_rows
from transforms.predictors.remote.wire import Action, EncodedItem, Metadata, Parsed, Reply, Request
from transforms.records import is_utf8, shown

DEFAULT_FIELD = "file"

_TYPES = (
    (rb"\xff\xd8\xff", "file.jpg", "image/jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "file.png", "image/png"),
    (rb"RIFF....WEBP", "file.webp", "image/webp"),
    (rb"GIF8[79]a", "file.gif", "image/gif"),
    (rb"BM", "file.bmp", "image/bmp"),
    (rb"", "file", "application/octet-stream"),
)
"""How files begin, and what they are called then: services refuse uploads that are not called images."""

_ESCAPES = {'"': "%22", "\r": "%0D", "\n": "%0A"}
_BOUNDARY_CHARS = 32


@dataclass(frozen=True)
class MultipartFormat:
    """See `WireFormat`. Bytes are sent as files, strings and numbers as fields of text.

    Attributes:
        endpoint: The service's address.
        item_input: The field of an input that has no name; None for `file`.
    """

    endpoint: Endpoint
    item_input: str | None = None

    @property
    def max_items(self) -> int | None:
        """One, the file."""
        return 1

    def encode(self, values: Values) -> EncodedItem:
        """See `WireFormat.encode`."""
        parts = tuple(self._part(name, values[name]) for name in sorted(values))
        return EncodedItem(parts, _size(parts))

    def overhead(self, shared: Tensors) -> int:
        """See `WireFormat.overhead`."""
        return len(_body([], "-" * _BOUNDARY_CHARS)) + _size(self.encode(shared).parts)

    def request(self, items: Sequence[EncodedItem], shared: Tensors, version: str | None) -> Request:
        """See `WireFormat.request`; versions are not known here."""
        (item,) = items
        parts = (*item.parts, *self.encode(shared).parts)
        boundary = next(
            found for found in _boundaries(parts) if not any(found.encode() in part for part in parts)
        )
        content_type = f"multipart/form-data; boundary={boundary}"
        return Request(self.endpoint.url, _body(parts, boundary), content_type)

    def parse(self, reply: Reply, count: int, outputs: Sequence[TensorSpec]) -> Parsed:
        """See `WireFormat.parse`."""
        return Parsed(read_rows(predictions_of([_result(reply)], count, reply), outputs))

    def describe(self, reply: Reply) -> tuple[TensorSpec, ...]:
        """See `WireFormat.describe`."""
        return describe_row(_result(reply), reply)

    def metadata_request(self, version: str | None) -> Request | None:
        """See `WireFormat.metadata_request`: there is none."""
        return None

    def read_metadata(self, reply: Reply) -> Metadata:
        """See `WireFormat.read_metadata`."""
        raise answer_failed("is no metadata, of which this protocol has none", reply.body, Action.GIVE_UP)

    def _part(self, name: str, value: Any) -> bytes:
        field = _quoted(name or self.item_input or DEFAULT_FIELD)
        value = value.item() if isinstance(value, np.ndarray) and value.shape == () else value
        disposition = f'Content-Disposition: form-data; name="{field}"'
        if isinstance(value, bytes):
            filename, content_type = _file_type(value)
            head = f'{disposition}; filename="{filename}"\r\nContent-Type: {content_type}\r\n\r\n'
            return head.encode() + value
        return f"{disposition}\r\n\r\n".encode() + _text(value)


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return _utf8(value).encode()
    if np.ndim(value):
        raise InstanceRefused(f"a field of a form has no place for {shown(value)}")
    return encode_value(value)


def _quoted(name: str) -> str:
    return re.sub('["\r\n]', lambda found: _ESCAPES[found[0]], _utf8(name))


def _utf8(text: str) -> str:
    if not is_utf8(text):
        raise InstanceRefused(f"{shown(text)} is not UTF-8, which a field of a form must be")
    return text


def _file_type(content: bytes) -> tuple[str, str]:
    return next(
        (name, kind) for mark, name, kind in _TYPES if re.match(mark, content, re.DOTALL)
    )  # the last one fits all


def _boundaries(parts: Sequence[bytes]) -> Iterator[str]:
    """Propose boundaries: the same ones for the same parts, and none that anybody could put into these."""
    digest = hashlib.blake2b(digest_size=_BOUNDARY_CHARS // 2)
    for part in parts:
        digest.update(part)
    for number in itertools.count():
        digest.update(str(number).encode())
        yield digest.hexdigest()


def _body(parts: Sequence[bytes], boundary: str) -> bytes:
    between = f"--{boundary}\r\n".encode()
    return b"".join([*(b"%b%b\r\n" % (between, part) for part in parts), f"--{boundary}--\r\n".encode()])


def _size(parts: Sequence[bytes]) -> int:
    added = len(f"--{'-' * _BOUNDARY_CHARS}\r\n\r\n")
    return sum(len(part) + added for part in parts)


def _result(reply: Reply) -> Any:
    return read_answer(reply.body, "result")["result"]
