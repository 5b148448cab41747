"""From the instances of a request to what a predictor takes.

An instance is an object of values by the names of the signature's inputs, or the bare value of the input that
takes the item. The other inputs are taken from the object as attributes are. Bytes come as `{"b64": "..."}`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.serving.failure import BAD_REQUEST, RequestFailed
from pipeline.serving.number_files import npy_file
from transforms import storage
from transforms.allowed_places import AllowedPlaces
from transforms.errors import EmptyFile
from transforms.predictors.base import Predictor
from transforms.predictors.feed import Feed
from transforms.records import FileBytes, FileRef, shown

BASE64 = "b64"
INSTANCES = "instances"
SIGNATURE = "signature_name"
PARAMETERS = "parameters"  # of Vertex AI's requests, where there are none


def instances_of(request: Any, signature: str) -> Sequence[Any]:
    """Take the instances out of a request.

    Args:
        request: What its JSON holds.
        signature: Which signature is served, for requests that name one, as those for TensorFlow Serving do.

    Raises:
        RequestFailed: There are none.
    """
    if not isinstance(request, Mapping) or INSTANCES not in request:
        held = f"the keys {shown(list(request))}" if isinstance(request, Mapping) else "no object"
        raise _refused(f'a request is an object {{"{INSTANCES}": [...]}}; this one has {held}')
    unknown = sorted(request.keys() - {INSTANCES, SIGNATURE, PARAMETERS})
    if unknown or request.get(PARAMETERS):
        unknown = unknown or [PARAMETERS]
        raise _refused(f"unknown key {shown(unknown[0])}; a request has {INSTANCES!r} and nothing else")
    if request.get(SIGNATURE, signature) != signature:
        raise _refused(f"{SIGNATURE} is {shown(request[SIGNATURE])}; only {signature!r} is served here")
    instances = request[INSTANCES]
    if not isinstance(instances, list):
        raise _refused(f"{INSTANCES!r} must be a list; it is {shown(instances)}")
    return instances


def feed_of(predictor: Predictor) -> Feed:
    """Return what tells how the model behind a predictor is fed."""
    inner: Any = predictor
    while not hasattr(inner, "feed"):  # of what wraps it
        inner = inner.predictor
    feed: Feed = inner.feed
    return feed


@dataclass(frozen=True)
class InstanceReader:
    """Makes items of instances.

    Attributes:
        feed: What the model takes.
        item_names: What the input that takes the item may be called.
        allowed: Where files may be, for a model that takes their names.
    """

    feed: Feed
    item_names: frozenset[str]
    allowed: AllowedPlaces

    def read(self, position: int, instance: Any) -> FileBytes:
        """Make the item of an instance.

        Raises:
            ValueError: It is not what the signature takes.
            ItemError: The file that it names may not be read, or is not there.
        """
        value, others = self._taken_apart(instance)
        attributes = {name: _text_of(name, other) for name, other in others.items()}
        if self.feed.kind == "names":
            return FileBytes(replace(self._file(value), attributes=attributes), None)
        return FileBytes(FileRef(f"instance {position}", attributes=attributes), self._content(value))

    def _taken_apart(self, instance: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return what the item's input is given, and what the others are."""
        if not isinstance(instance, Mapping) or _is_base64(instance):
            return instance, {}
        named = [name for name in instance if name in self.item_names]
        others = {name: value for name, value in instance.items() if name not in self.item_names}
        known = [spec.name for spec in self.feed.attributes]
        unknown = sorted(others.keys() - set(known))
        if len(named) != 1 or unknown:
            wrong = f"there is no input {unknown[0]!r}" if unknown else f"it lacks {self.feed.item.name!r}"
            raise ValueError(
                f"{wrong}; an instance has the inputs {', '.join([self.feed.item.name, *known])}"
            )
        return instance[named[0]], others

    def _file(self, value: Any) -> FileRef:
        name = _text_of(self.feed.item.name, value)
        if not isinstance(name, str) or not name:
            raise ValueError(f"{self.feed.item.name!r} must be the name of a file; got {shown(value)}")
        self.allowed.check(name)
        file = storage.stat(name)
        if not file.size:
            raise EmptyFile(f"{name} has 0 bytes")
        return file

    def _content(self, value: Any) -> bytes:
        if _is_base64(value):
            return _decoded(value)
        if self.feed.kind == "bytes" and isinstance(value, str):
            return value.encode()
        if self.feed.kind in ("images", "arrays") and isinstance(value, (list, int, float)):
            return npy_file(value, self.feed.item)
        takes = "" if self.feed.kind == "bytes" else f", or numbers: {self.feed.item}"
        raise ValueError(
            f'{self.feed.item.name!r} must be bytes, as {{"{BASE64}": "..."}}{takes}; got {shown(value)}'
        )


def _is_base64(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {BASE64} and isinstance(value[BASE64], str)


def _decoded(value: Mapping[str, str]) -> bytes:
    try:
        return base64.b64decode(value[BASE64], validate=True)
    except ValueError as error:
        raise ValueError(f"{BASE64!r} is not base64: {error}") from error


def _text_of(name: str, value: Any) -> Any:
    """Return a value as it is; text that came as bytes is taken for text."""
    if not _is_base64(value):
        return value
    try:
        return _decoded(value).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name!r} must be text; its bytes are not UTF-8") from error


def _refused(message: str) -> RequestFailed:
    return RequestFailed(BAD_REQUEST, message)
