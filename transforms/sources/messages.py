"""What a message asks for: a file by its name, or one whose bytes it brings.

Cloud Storage's notifications: https://cloud.google.com/storage/docs/pubsub-notifications
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from transforms.errors import ParseError
from transforms.records import FileRef

MESSAGE_FORMATS = ("auto", "notification", "name", "json", "bytes")

MAX_PAYLOAD_CHARS = 10_000
MAX_URI_BYTES = 4_096
"""Cloud Storage's names have at most 222 + 1,024."""

NEW_OBJECT = "OBJECT_FINALIZE"
OTHER_EVENTS = ("OBJECT_DELETE", "OBJECT_METADATA_UPDATE", "OBJECT_ARCHIVE")
OTHER_EVENT = "other_event"
"""Why a message is skipped whose event Cloud Storage does not document."""
FOLDER = "folder"
"""Why a message is skipped that tells of the empty object by which consoles keep a folder."""

_NOTIFICATION = ("eventType", "bucketId", "objectId")
_GENERATION = "objectGeneration"
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INT64 = range(-(1 << 63), 1 << 63)
_LEVELS_OF_RECORDS = 8
"""How deep in the JSON of a record attributes are at most, with room to spare."""


@dataclass(frozen=True)
class Skipped:
    """A message that asks for nothing.

    Attributes:
        reason: Why, as one of a few words.
    """

    reason: str


def parse_message(
    data: bytes, attributes: Mapping[str, str], message_id: str | None = None, message_format: str = "auto"
) -> FileRef | Skipped:
    """Tell which file a message asks for.

    Args:
        data: Its body.
        attributes: Those of the message; but for a notification, they become the file's.
        message_id: Names a file that has no name.
        message_format: One of `MESSAGE_FORMATS`:
            `notification`: there are the attributes `eventType`, `bucketId`, `objectId`, `objectGeneration`;
            the body may be the object's JSON.
            `name`: the body is a uri, as it is.
            `json`: the body is an object with a `uri`, perhaps a `generation`, and attributes.
            `bytes`: the body is the file; an attribute `uri` names it.
            `auto`: one of the first three, as the message shows.
            With `name` and `json`, the file's bytes may come along in base64: as the message's attribute
            `content`, or as the object's `content`, plain or as `{"b64": ...}`. Then there need not be a uri,
            and the generation is a hash of the bytes.

    Raises:
        ParseError: It is nothing of that kind.
    """
    message = _Message(data, attributes, message_id)
    return _PARSERS[_format_of(message) if message_format == "auto" else message_format](message)


class _Message(NamedTuple):
    data: bytes
    attributes: Mapping[str, str]
    id: str | None

    def text(self) -> str:
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.problem(
                "is not UTF-8; where messages are files themselves, say so (--message_format bytes)"
            ) from error

    def problem(self, text: str) -> ParseError:
        """Make the error of this message, with as much of its body as a person would read."""
        payload = self.data[: 4 * MAX_PAYLOAD_CHARS].decode(errors="backslashreplace")[:MAX_PAYLOAD_CHARS]
        return ParseError(f"message {self.id or 'without an id'} {text}", payload)


def _format_of(message: _Message) -> str:
    if all(name in message.attributes for name in _NOTIFICATION):
        return "notification"
    return "json" if message.text().lstrip().startswith("{") else "name"


def _parse_notification(message: _Message) -> FileRef | Skipped:
    attributes = message.attributes
    event, bucket, name = map(attributes.get, _NOTIFICATION)
    if not event or not bucket or not name:
        raise message.problem(
            f"is no notification of Cloud Storage: it needs the attributes {', '.join(_NOTIFICATION)}"
        )
    if event != NEW_OBJECT:
        return Skipped(event if event in OTHER_EVENTS else OTHER_EVENT)
    if name.endswith("/"):
        return Skipped(FOLDER)
    generation = _generation(message, attributes.get(_GENERATION))
    if generation is None:
        raise message.problem(f"is a notification without the attribute {_GENERATION}")
    return FileRef(_uri(message, f"gs://{bucket}/{name}"), generation, _size(message.data))


def _parse_name(message: _Message) -> FileRef:
    name = message.text().rstrip("\r\n")
    return _described(message, {"uri": name} if name else {})


def _parse_json(message: _Message) -> FileRef:
    try:
        fields = orjson.loads(message.text() or "{}")
        orjson.dumps(_within_records(fields))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise message.problem(f"is no JSON that can be kept: {error}") from error
    if not isinstance(fields, dict):
        raise message.problem("is JSON, but no object with a uri")
    return _described(message, fields)


def _parse_bytes(message: _Message) -> FileRef:
    others = dict(message.attributes)
    return _brought(message, others.pop("uri", None), message.data, others)


_PARSERS: dict[str, Callable[[_Message], FileRef | Skipped]] = {
    "notification": _parse_notification,
    "name": _parse_name,
    "json": _parse_json,
    "bytes": _parse_bytes,
}


def _described(message: _Message, fields: dict[str, Any]) -> FileRef:
    """Make the file of what a body says, and of what the message's attributes say beside it."""
    others: dict[str, Any] = dict(message.attributes)
    uri, content = fields.pop("uri", None), fields.pop("content", None)
    if content is None:
        content = others.pop("content", None)
    if content is not None:
        given = others.pop("uri", None) if uri is None else uri
        return _brought(message, given, _decoded(message, content), {**others, **fields})
    if uri is None:
        raise message.problem("has no uri" if message.data else "is empty")
    generation = _generation(message, fields.pop("generation", None))
    return FileRef(_uri(message, uri), generation, attributes={**others, **fields})


def _brought(message: _Message, uri: Any, content: bytes, attributes: Mapping[str, Any]) -> FileRef:
    """Make the file that a message brings: equal bytes of one name are the same content of it."""
    digest = hashlib.blake2b(content, digest_size=8).digest()
    generation = int.from_bytes(digest, "big") >> 1
    name = f"pubsub:{message.id or generation}" if uri is None else _uri(message, uri)
    return FileRef(name, generation, len(content), attributes, content)


def _decoded(message: _Message, content: Any) -> bytes:
    encoded = content.get("b64") if isinstance(content, dict) else content
    try:
        if isinstance(encoded, str):
            return b64decode(encoded, validate=True)
    except ValueError as error:
        raise message.problem(f"has a content that is not base64: {error}") from error
    raise message.problem('has a content that is neither base64 nor {"b64": base64}')


def _uri(message: _Message, uri: Any) -> str:
    if not isinstance(uri, str) or not uri:
        raise message.problem("has a uri that is no text, or empty")
    if len(uri.encode()) > MAX_URI_BYTES:
        raise message.problem(f"has a uri of more than {MAX_URI_BYTES:,} bytes")
    return uri


def _generation(message: _Message, generation: Any) -> int | None:
    if generation is None:
        return None
    if isinstance(generation, str) and _INTEGER.fullmatch(generation):
        generation = int(generation)
    if isinstance(generation, bool) or not isinstance(generation, int) or generation not in _INT64:
        raise message.problem(f"has a generation that is no integer of 64 bits: {generation!r:.100}")
    return generation


def _size(data: bytes) -> int | None:
    """Return the size in an object's JSON; without, it is found out when the object is read."""
    try:
        size = int(orjson.loads(data)["size"])
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return size if 0 <= size < _INT64.stop else None


def _within_records(fields: Any) -> Any:
    """Put a value as deep into lists as it will be in records: orjson reads deeper JSON than it writes."""
    for _ in range(_LEVELS_OF_RECORDS):
        fields = [fields]
    return fields
