"""The files of a glob."""

from __future__ import annotations

from collections.abc import Iterator

from transforms import storage
from transforms.errors import ListError, ReadError
from transforms.records import FileRef


def expand_glob(pattern: str) -> Iterator[FileRef]:
    """List the files of a pattern; a name of an existing file is taken as it is, wildcards and all.

    Raises:
        ListError: There is none, or the place cannot be listed.
    """
    found = False
    try:
        if not storage.is_pattern(pattern) or storage.exists(pattern):
            yield storage.stat(pattern)
            return
        for ref in storage.glob(pattern):
            found = True
            yield ref
    except ReadError as error:
        raise ListError(str(error)) from error
    if not found:
        raise ListError(
            f"no file matches {pattern}; `*` stops at a slash, `**` does not; quote the pattern, "
            "so that the shell leaves it alone"
        )
