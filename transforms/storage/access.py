"""The storage of a name, and its operations as functions."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from transforms.errors import FileMissing, UnsupportedLocation
from transforms.records import FileRef
from transforms.storage.base import Storage
from transforms.storage.local import LocalStorage

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def storage_of(uri: str) -> Storage:
    """Return the storage that holds a name."""
    match = _SCHEME.match(uri)
    return _storage(match.group(1).lower() if match else "")


@functools.cache
def _storage(scheme: str) -> Storage:
    if not scheme:
        return LocalStorage()
    if scheme == "file":
        raise UnsupportedLocation("local files are named without file://")
    if scheme == "gs":
        from transforms.storage.gcs import GcsStorage

        return GcsStorage()
    from transforms.storage.beam_files import BeamStorage

    return BeamStorage()


def is_local(uri: str) -> bool:
    """Tell whether a name is a local path."""
    return not _SCHEME.match(uri)


def join(folder: str, name: str) -> str:
    """Return the name of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if folder.strip("/") else os.path.join(folder, name)


def stat(uri: str) -> FileRef:
    """See `Storage.stat`."""
    return storage_of(uri).stat(uri)


def exists(uri: str) -> bool:
    """Tell whether there is a file of that name, taken as it is.

    Raises:
        ReadError: It cannot be told.
    """
    try:
        stat(uri)
    except FileMissing:
        return False
    return True


def read(uri: str, max_bytes: int) -> bytes:
    """See `Storage.read`: the present content of a file."""
    return storage_of(uri).read(FileRef(uri), max_bytes)


def glob(pattern: str) -> Iterator[FileRef]:
    """See `Storage.glob`."""
    return storage_of(pattern).glob(pattern)


def stream(uri: str) -> BinaryIO:
    """See `Storage.stream`."""
    return storage_of(uri).stream(uri)


def create(uri: str) -> BinaryIO:
    """See `Storage.create`."""
    return storage_of(uri).create(uri)


def move(source: str, target: str) -> None:
    """See `Storage.move`."""
    storage_of(source).move(source, target)


def delete(uri: str) -> None:
    """See `Storage.delete`."""
    storage_of(uri).delete(uri)
