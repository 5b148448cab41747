"""The files of a glob."""

from __future__ import annotations

from collections.abc import Iterator

from transforms import storage
from transforms.errors import ListError, ParseError, ReadError, is_retryable
from transforms.records import FileRef, is_utf8, printable


def expand_glob(pattern: str) -> Iterator[FileRef | ParseError]:
    """List the files of a pattern; a name of an existing file is taken as it is, wildcards and all.

    Yields:
        The files, and an error for one whose name no output can hold.

    Raises:
        ListError: There is none, or the place cannot be listed.
        StorageUnavailable: The storage failed; a later try may succeed.
    """
    found = False
    try:
        if not storage.is_pattern(pattern) or storage.exists(pattern):
            ref = storage.stat(pattern)
            yield ref if is_utf8(ref.uri) else _unwritable(ref)
            return
        for ref in storage.glob(pattern):
            found = True
            yield ref if is_utf8(ref.uri) else _unwritable(ref)
    except ReadError as error:
        if is_retryable(error):
            raise  # what is left of the listing would be lost in silence
        raise ListError(str(error)) from error
    if not found:
        raise ListError(
            f"no file matches {pattern}; `*` stops at a slash, `**` does not; quote the pattern, "
            "so that the shell leaves it alone"
        )


def _unwritable(ref: FileRef) -> ParseError:
    name = printable(ref.uri)
    return ParseError(f"the name {name} is not UTF-8; rename the file", name)
