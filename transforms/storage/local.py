"""Files on this machine."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from transforms.errors import AccessDenied, FileMissing, NotAFile, ReadError, StorageUnavailable
from transforms.records import FileRef
from transforms.storage.base import check_generation, check_size, missing
from transforms.storage.patterns import compile_pattern, literal_prefix

_NAMES_NOTHING = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


class LocalStorage:
    """Files by local path, relative to the current folder or absolute."""

    def stat(self, uri: str) -> FileRef:
        """See `Storage.stat`; the generation is the time of the last change in microseconds."""
        try:
            return _ref(uri, os.stat(uri))
        except (OSError, ValueError) as error:
            raise _read_error(uri, error) from error

    def read(self, ref: FileRef, max_bytes: int) -> bytes:
        """See `Storage.read`; of a file there is only the present generation."""
        try:
            # Without O_NONBLOCK, opening a pipe would wait for a writer for ever.
            descriptor = os.open(ref.uri, os.O_RDONLY | os.O_NONBLOCK)
            try:
                present = _ref(ref.uri, os.fstat(descriptor))
                check_generation(ref, present)
                check_size(ref.uri, present.size or 0, max_bytes)
                content = _content(descriptor, present.size or 0, max_bytes)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise _read_error(ref.uri, error) from error
        check_size(ref.uri, len(content), max_bytes)  # it may have grown since
        return content

    def glob(self, pattern: str) -> Iterator[FileRef]:
        """See `Storage.glob`; in the order of the names, folder by folder."""
        pattern = re.sub(r"/{2,}", "/", pattern)  # means the same here, and is no part of the names
        matches = compile_pattern(pattern).match
        folder = os.path.dirname(literal_prefix(pattern))
        depth = None if "**" in pattern else pattern[len(folder) :].strip(os.sep).count(os.sep)
        for path in _walk(folder, depth):
            if matches(path):
                yield self._listed(path)

    def _listed(self, path: str) -> FileRef:
        try:
            return self.stat(path)
        except ReadError:
            return FileRef(path)  # a dangling link, say: reading it tells

    def stream(self, uri: str) -> BinaryIO:
        """See `Storage.stream`."""
        self.stat(uri)
        try:
            return open(uri, "rb")
        except OSError as error:
            raise _read_error(uri, error) from error

    def create(self, uri: str) -> BinaryIO:
        """See `Storage.create`."""
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        return open(uri, "wb")

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`."""
        try:
            os.replace(source, target)
        except FileNotFoundError:
            if not os.path.exists(target):
                raise

    def delete(self, uri: str) -> None:
        """See `Storage.delete`."""
        Path(uri).unlink(missing_ok=True)


def _walk(folder: str, depth: int | None) -> Iterator[str]:
    """List the files in a folder and, down to a depth, in those below it."""
    top = folder or os.curdir
    failures: list[OSError] = []
    if "\0" in top:
        return
    # Links are followed only to a certain depth, where they cannot lead in a circle.
    for parent, folders, names in os.walk(top, onerror=failures.append, followlinks=depth is not None):
        relative = os.path.relpath(parent, top)
        level = 0 if relative == os.curdir else relative.count(os.sep) + 1
        if depth is not None and level >= depth:
            folders.clear()
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            yield path if folder else os.path.relpath(path)
    for error in failures:
        failure = _read_error(str(error.filename), error)
        if not isinstance(failure, FileMissing):
            raise failure from error  # at the end: it costs none of the others


def _content(descriptor: int, size: int, max_bytes: int) -> bytes:
    """Read a file, at most one byte more than is allowed; mostly by one call of the system.

    A file object makes four more calls. After each, a thread waits for its turn, which in a pool of threads
    takes longer than reading a small file.
    """
    content = os.read(descriptor, size + 1)
    if len(content) == size:
        return content
    with open(descriptor, "rb", closefd=False) as file:  # it has changed, or is more than one call reads
        return content + file.read(max(0, max_bytes + 1 - len(content)))


def _ref(uri: str, status: os.stat_result) -> FileRef:
    if stat.S_ISDIR(status.st_mode):
        raise NotAFile(f"{uri} is a folder; to predict on the files in it, give {os.path.join(uri, '*')}")
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file(uri)
    return FileRef(uri, generation=int(status.st_mtime * 1e6), size=status.st_size)


def _not_a_file(uri: str) -> NotAFile:
    return NotAFile(f"{uri} is a device, a pipe or a socket, not a file")


def _read_error(uri: str, error: OSError | ValueError) -> ReadError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
        return missing(uri)  # ValueError: there is a NUL in the name
    if isinstance(error, PermissionError):
        return AccessDenied(f"{uri} may not be read by this user")
    if error.errno in _NAMES_NOTHING:
        return missing(uri)
    if error.errno == errno.ENXIO:
        return _not_a_file(uri)
    return StorageUnavailable(f"{uri}: {error}")
