"""What every place that holds files can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

from transforms.errors import FileMissing, FileTooLarge
from transforms.records import FileRef


class Storage(Protocol):
    """Files by name, in one kind of place.

    Every method raises an error of `transforms.errors` that names the file: a `ReadError` for what cannot be
    read, an `OSError` for what cannot be written.
    """

    def stat(self, uri: str) -> FileRef:
        """Return the generation and the size of a file; the name is taken as it is, not as a pattern."""

    def read(self, ref: FileRef, max_bytes: int) -> bytes:
        """Return a file's bytes: of that generation, where one is given.

        Raises:
            FileTooLarge: It has more than `max_bytes` bytes; then none was read.
        """

    def stream(self, uri: str) -> BinaryIO:
        """Open a file for reading from its beginning to its end, without decompression."""

    def glob(self, pattern: str) -> Iterator[FileRef]:
        """List the files of a pattern, see `patterns`."""

    def create(self, uri: str) -> BinaryIO:
        """Open a new file for writing, and make the folders above it where there are folders."""

    def move(self, source: str, target: str) -> None:
        """Rename a file, or finish a renaming that was broken off: then the source may be gone already."""

    def delete(self, uri: str) -> None:
        """Delete a file; one that is not there is no error."""


def check_size(uri: str, size: int, max_bytes: int) -> None:
    """Refuse a file that is too large, before it is read."""
    if size > max_bytes:
        raise FileTooLarge(f"{uri} has {size:,} bytes; at most {max_bytes:,} are allowed (--max_file_bytes)")


def check_generation(wanted: FileRef, present: FileRef) -> None:
    """Refuse a file that is not what it was when it was listed.

    Raises:
        FileMissing: It has been overwritten.
    """
    if wanted.generation not in (None, present.generation):
        raise FileMissing(
            f"{wanted.uri} has been overwritten: its generation is {present.generation}, "
            f"not {wanted.generation}"
        )


def missing(uri: str) -> FileMissing:
    """Make the error of a name that stands for nothing."""
    return FileMissing(f"there is no file {uri}")
