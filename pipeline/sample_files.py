"""Some of a job's files, read on the launching machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from options import SourceOptions
from transforms import storage
from transforms.errors import EmptyFile, ItemError
from transforms.predictors.base import InputKind
from transforms.records import FileBytes, FileRef
from transforms.sources.from_inputs import list_files

MAX_LISTED = 30
"""Files that cannot be read are passed over, but not for ever."""


def first_files(source: SourceOptions, kind: InputKind) -> Iterator[FileBytes | ItemError]:
    """Read the first files that a job will predict on, one by one, or tell why one cannot be read.

    Of what comes by messages, there are none yet.
    """
    for entry in itertools.islice(_listed(source), MAX_LISTED):
        try:
            yield read_listed(entry, kind, source.max_file_bytes)
        except ItemError as error:
            yield error


def read_listed(listed: FileRef | ItemError, kind: InputKind, max_bytes: int) -> FileBytes:
    """Read a file for a model that is fed with a kind of input.

    Raises:
        ItemError: It was not listed, cannot be read, or is empty.
    """
    if isinstance(listed, ItemError):
        raise listed
    content = None if kind == "names" else storage.read(listed.uri, max_bytes)
    if content == b"":
        raise EmptyFile(f"{listed.uri} has 0 bytes")
    return FileBytes(listed, content)


def _listed(source: SourceOptions) -> Iterator[FileRef | ItemError]:
    """List all inputs; one that cannot be listed does not keep the others from it."""
    for named in source.input or ():
        try:
            yield from list_files(named)
        except ItemError as error:
            yield error
