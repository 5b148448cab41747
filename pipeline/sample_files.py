"""Some of a job's files, read on the launching machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from options import SourceOptions
from transforms import storage
from transforms.errors import ItemError
from transforms.predictors.base import InputKind
from transforms.records import FileBytes, FileRef
from transforms.sources.from_inputs import list_files

MAX_SAMPLES = 3


def first_files(source: SourceOptions, kind: InputKind) -> Iterator[FileBytes | ItemError]:
    """Read the first files that a job will predict on, or tell why one cannot be read.

    Of what comes by messages, there are none yet.
    """
    listed = itertools.chain.from_iterable(map(list_files, source.input or ()))
    for entry in itertools.islice(listed, MAX_SAMPLES):
        try:
            yield read_listed(entry, kind, source.max_file_bytes)
        except ItemError as error:
            yield error


def read_listed(listed: FileRef | ItemError, kind: InputKind, max_bytes: int) -> FileBytes:
    """Read a file for a model that is fed with a kind of input.

    Raises:
        ItemError: It was not listed, or cannot be read.
    """
    if isinstance(listed, ItemError):
        raise listed
    return FileBytes(listed, None if kind == "names" else storage.read(listed.uri, max_bytes))
