"""The files that a list names: one name a line, or a table with a column `uri`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

import orjson

from transforms.errors import ListError, ParseError
from transforms.records import FileRef

URI_COLUMN = "uri"

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
    """
    empty = True
    with _open(uri) as file:
        for entry in _reader(uri)(uri, file):
            empty = False
            yield entry
    if empty:
        raise ListError(f"the list {uri} is empty")


def _open(uri: str) -> BinaryIO:
    from apache_beam.io.filesystems import FileSystems

    try:
        return FileSystems.open(uri)
    except Exception as error:  # each file system raises its own
        raise ListError(f"the list {uri} cannot be read: {error}") from error


def _reader(uri: str) -> Callable[[str, BinaryIO], Iterator[Entry]]:
    name = uri.lower().removesuffix(".gz").removesuffix(".bz2")
    return next((reader for ending, reader in _READERS.items() if name.endswith(ending)), _read_names)


def _read_names(uri: str, file: BinaryIO) -> Iterator[Entry]:
    for where, line in _lines(uri, file):
        yield _entry(where, line, {}, line)


def _read_jsonl(uri: str, file: BinaryIO) -> Iterator[Entry]:
    for where, line in _lines(uri, file):
        try:
            row = orjson.loads(line.encode(errors="surrogateescape"))
        except orjson.JSONDecodeError as error:
            yield ParseError(f"{where} is not JSON: {error}", _printable(line))
            continue
        if isinstance(row, dict):
            yield _row(where, row, line)
        else:
            yield ParseError(f"{where} is not an object with a member {URI_COLUMN!r}", _printable(line))


def _read_csv(uri: str, file: BinaryIO) -> Iterator[Entry]:
    # strict: else an unclosed quote swallows the rest of the list
    rows = csv.DictReader(_text(file, newline=""), strict=True)
    columns: Iterable[str] = rows.fieldnames or ()
    if columns and URI_COLUMN not in columns:
        raise ListError(f"the list {uri} has no column {URI_COLUMN!r}, only {', '.join(columns)}")
    while True:
        try:
            row: dict[Any, Any] = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield ParseError(f"line {rows.line_num} of {uri}: {error}", "")
        else:
            yield _row(f"line {rows.line_num} of {uri}", row, repr(row))


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


def _row(where: str, row: dict[Any, Any], line: str) -> Entry:
    attributes = dict(row)
    uri = attributes.pop(URI_COLUMN, None)
    if not isinstance(uri, str) or not uri:
        return ParseError(f"{where} has no {URI_COLUMN}", _printable(line))
    if None in attributes:  # where csv.DictReader puts the fields beyond the header's
        return ParseError(f"{where} has more fields than the header", _printable(line))
    return _entry(where, uri, attributes, line)


def _entry(where: str, uri: str, attributes: dict[str, Any], line: str) -> Entry:
    try:
        orjson.dumps([uri, attributes])
    except orjson.JSONEncodeError:
        return ParseError(f"{where} is not UTF-8", _printable(line))
    return FileRef(uri, attributes=attributes)


def _printable(line: str) -> str:
    return line.encode(errors="surrogateescape").decode(errors="backslashreplace")
