"""The files that a list names: one name a line, or a table with a column `uri`."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

import orjson

from transforms import storage
from transforms.errors import ListError, ParseError, ReadError, is_retryable
from transforms.records import FileRef

URI_COLUMN = "uri"

_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)
"""What a damaged compressed file raises while it is read."""

Entry = FileRef | ParseError


def read_list(uri: str) -> Iterator[Entry]:
    """Read the names in a list; one that is called `.gz` or `.bz2` is decompressed.

    Args:
        uri: Of a `.csv` file (with a header) or a `.jsonl` file, with a column `uri`, whose other columns
            become attributes; or of any other text file, with one name a line. All in UTF-8.

    Yields:
        A file for each line, or why the line names none; empty lines are passed over.

    Raises:
        ListError: The list cannot be read, has no column `uri`, or is empty.
        StorageUnavailable: The storage failed; what is left of the list would be lost.
    """
    empty = True
    try:
        with _open(uri) as file:
            for entry in _reader(uri)(uri, file):
                empty = False
                yield entry
    except _DAMAGE as error:
        raise ListError(f"the list {uri} cannot be read: {error}") from error
    if empty:
        raise ListError(f"the list {uri} is empty")


def _open(uri: str) -> BinaryIO:
    try:
        file = storage.stream(uri)
    except ReadError as error:
        if is_retryable(error):
            raise
        raise ListError(f"the list {uri} cannot be read: {error}") from error
    decompress = next((opened for end, opened in _COMPRESSIONS.items() if uri.lower().endswith(end)), None)
    return cast(BinaryIO, decompress(file)) if decompress else file


def _reader(uri: str) -> Callable[[str, BinaryIO], Iterator[Entry]]:
    name = uri.lower()
    for ending in _COMPRESSIONS:
        name = name.removesuffix(ending)
    return next((reader for ending, reader in _READERS.items() if name.endswith(ending)), _read_names)


def _read_names(uri: str, file: BinaryIO) -> Iterator[Entry]:
    for where, line in _lines(uri, file):
        yield _entry(where, line, {}, line)


def _read_jsonl(uri: str, file: BinaryIO) -> Iterator[Entry]:
    for where, line in _lines(uri, file):
        try:
            row = orjson.loads(line.encode(errors="surrogateescape"))
        except orjson.JSONDecodeError as error:
            yield ParseError(f"{where} is not JSON: {error}", _raw(line))
            continue
        if isinstance(row, dict):
            yield _row(where, row, line)
        else:
            yield ParseError(f"{where} is not an object with a member {URI_COLUMN!r}", _raw(line))


def _read_csv(uri: str, file: BinaryIO) -> Iterator[Entry]:
    lines = _Lines(_text(file, newline=""))
    rows = csv.reader(lines, strict=True)
    columns: list[str] = []
    while True:
        lines.taken.clear()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if not columns:
                raise ListError(f"the header of the list {uri} cannot be parsed: {error}") from error
            number = lines.blame_first()
            yield ParseError(f"line {number} of {uri}: {error}", _raw(lines.text()))
            rows = csv.reader(lines, strict=True)
            continue
        if not row:
            continue
        if not columns:
            columns = _header(uri, row)
        else:
            yield _csv_row(f"line {lines.count} of {uri}", columns, row, lines.text())


def _header(uri: str, columns: list[str]) -> list[str]:
    if URI_COLUMN not in columns:
        raise ListError(f"the list {uri} has no column {URI_COLUMN!r}, only {', '.join(columns)}")
    return columns


def _csv_row(where: str, columns: list[str], row: list[str], line: str) -> Entry:
    if len(row) > len(columns):
        return ParseError(f"{where} has more fields than the header", _raw(line))
    return _row(where, dict(itertools.zip_longest(columns, row)), line)


class _Lines:
    """Lines, of which those that make up the present row are kept: csv does not tell them."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.taken: list[str] = []
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        self.taken.append(line)
        return line

    def text(self) -> str:
        return "".join(self.taken).rstrip("\r\n")

    def blame_first(self) -> int:
        """Give back all lines of a row that cannot be parsed but its first, and return the number of that.

        An unclosed quote takes in the lines behind it, which are good.
        """
        behind = self.taken[1:]
        self._lines = itertools.chain(behind, self._lines)
        self.count -= len(behind)
        del self.taken[1:]
        return self.count


_COMPRESSIONS: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open}

_READERS = {".csv": _read_csv, ".jsonl": _read_jsonl}


def _lines(uri: str, file: BinaryIO) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_text(file, newline="\n"), 1):
        if line.strip():
            yield f"line {number} of {uri}", line.rstrip("\r\n")


def _text(file: BinaryIO, newline: str) -> io.TextIOWrapper:
    """Decode UTF-8, with or without a byte order mark; what is none stays recognizable for `_entry`."""
    return io.TextIOWrapper(
        io.BufferedReader(cast(io.RawIOBase, file)), "utf-8-sig", "surrogateescape", newline
    )


def _row(where: str, row: dict[str, Any], line: str) -> Entry:
    attributes = dict(row)
    uri = attributes.pop(URI_COLUMN, None)
    if not isinstance(uri, str) or not uri:
        return ParseError(f"{where} has no {URI_COLUMN}", _raw(line))
    return _entry(where, uri, attributes, line)


def _entry(where: str, uri: str, attributes: dict[str, Any], line: str) -> Entry:
    try:
        orjson.dumps([uri, attributes])
    except orjson.JSONEncodeError as error:
        problem = "is not UTF-8" if "UTF-8" in str(error) else f"cannot be kept: {error}"
        return ParseError(f"{where} {problem}", _raw(line))
    return FileRef(uri, attributes=attributes)


def _raw(line: str) -> str:
    """Return a line with escapes for its bytes that are not UTF-8."""
    return line.encode(errors="surrogateescape").decode(errors="backslashreplace")
