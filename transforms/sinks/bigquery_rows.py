"""From records to rows of BigQuery, and what BigQuery would refuse.

In batch one refused row fails the load of all, so each is looked at before it is handed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from transforms.errors import RecordTooLarge, RowRefused
from transforms.json_values import record_to_json
from transforms.schemas import Column, Record, bigquery_name

FILE_LOADS = "FILE_LOADS"
STREAMING_INSERTS = "STREAMING_INSERTS"
STORAGE_WRITE_API = "STORAGE_WRITE_API"
METHODS = (FILE_LOADS, STREAMING_INSERTS, STORAGE_WRITE_API)
"""How rows get into a table."""

# https://cloud.google.com/bigquery/quotas: a load takes rows of 100 MB; the others take rows and requests of
# 10 MB, and a request is a little more than its row.
MAX_ROW_BYTES: dict[str, int] = {
    FILE_LOADS: 100_000_000,
    STREAMING_INSERTS: 9_990_000,
    STORAGE_WRITE_API: 9_990_000,
}
"""How large the JSON of one row may be."""

# Beyond these, numbers in JSON lose digits; BigQuery reads them from text, too.
# https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-json#limitations
_MAX_EXACT = 2**53 - 1

_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"})
_FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_PYTHON_TYPES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "timestamp": frozenset({str}),
    "bool": frozenset({bool}),
    "uint64": frozenset({int}),
    **dict.fromkeys(_INTEGERS, frozenset({int})),
    **dict.fromkeys(_FLOATS, frozenset({int, float, str})),
}
"""What there may be for each type of column once JSON was read back."""

Row = dict[str, Any]


def row_of(record: Record, columns: Sequence[Column], method: str) -> Row:
    """Make the row of a record.

    NaN and infinities become "NaN", "Infinity" and "-Infinity", as in the files; BigQuery reads them as
    numbers in columns of floats, and keeps the text in JSON.

    Args:
        record: A prediction or a dead letter.
        columns: Of its type; see `schemas.columns_of`.
        method: Each wants some values in a way of its own.

    Returns:
        Values by the names that BigQuery takes.

    Raises:
        RowRefused: BigQuery would refuse it; the message names the column and the value.
        RecordTooLarge: It is larger than a row may be.
    """
    try:
        encoded = record_to_json(record)
    except (
        TypeError
    ) as error:  # text that is not UTF-8, numbers of more than 64 bits, JSON that nests too deep
        raise RowRefused(f"the record cannot be written as JSON: {error}") from error
    _check_size(len(encoded), method)
    row = _row(orjson.loads(encoded), columns, _WRITERS[method], "")
    if method != STORAGE_WRITE_API:
        _check_size(_sent_bytes(row, method), method)
    return row


@dataclass(frozen=True)
class _Writer:
    """How one method wants the values for which JSON has no type of its own.

    Attributes:
        json: From a value to that of a column of JSON.
        types: From a value to that of a column of a type; for what is not listed, the value itself.
    """

    json: Callable[[Any], Any]
    types: dict[str, Callable[[Any], Any]]


def _row(values: Any, columns: Sequence[Column], writer: _Writer, path: str) -> Row:
    _check_names(values, columns, path)
    return {
        bigquery_name(column.name): _cell(values[column.name], column, writer, path + column.name)
        for column in columns
    }


def _check_names(values: Any, columns: Sequence[Column], path: str) -> None:
    names = {column.name for column in columns}
    for name in values.keys() - names:
        raise RowRefused(f"{path}{name}: the table has no such column")
    for name in names - values.keys():
        raise RowRefused(f"{path}{name}: the record has no value for this column")


def _cell(value: Any, column: Column, writer: _Writer, path: str) -> Any:
    if value is None:
        if column.required or column.rank:
            raise RowRefused(f"{path}: null, in a column that takes none")
        return None
    if column.type == "record":
        return _row(value, column.columns, writer, f"{path}.")
    if column.type == "json" or column.rank > 1:
        return writer.json(value)
    if isinstance(value, list) != bool(column.rank):
        raise RowRefused(f"{path}: {_shown(value)} is {'no' if column.rank else 'a'} list")
    _check_values(value if column.rank else [value], column, path)
    write = writer.types.get(column.type)
    if write is None:
        return value
    return list(map(write, value)) if column.rank else write(value)


def _check_values(values: Sequence[Any], column: Column, path: str) -> None:
    """Look at a column's values all at once, for there may be thousands."""
    found = set(map(type, values))
    wrong = found - _PYTHON_TYPES[column.type]
    if wrong:
        value = next(value for value in values if type(value) in wrong)
        raise RowRefused(f"{path}: {_shown(value)} is no {column.type}")
    if str in found and column.type in _FLOATS:
        unknown = next((text for text in values if type(text) is str and text not in _NOT_FINITE), None)
        if unknown is not None:
            raise RowRefused(f"{path}: {_shown(unknown)} is no {column.type}")
    if column.type in _INTEGERS and values and not -(2**63) <= min(values) <= max(values) < 2**63:
        raise RowRefused(f"{path}: {_shown(max(values, key=abs))} has more than 64 bits with the sign")


def _check_size(size: int, method: str) -> None:
    if size > MAX_ROW_BYTES[method]:
        raise RecordTooLarge(
            f"the row has {size:,} bytes, and BigQuery takes {MAX_ROW_BYTES[method]:,} by {method}"
        )


def _sent_bytes(row: Row, method: str) -> int:
    """Tell how large a row is when it is sent: google-cloud-bigquery writes what is not ASCII as escapes."""
    encoded = orjson.dumps(row)
    if method == STREAMING_INSERTS and not encoded.isascii():
        return len(json.dumps(row))
    return len(encoded)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."  # noqa: PLR2004 (enough to find it by)


def _json_text(value: Any) -> str:
    """Write JSON in ASCII, for Beam fills requests by characters, of which others take up to six bytes."""
    text = orjson.dumps(value).decode()
    return text if text.isascii() else json.dumps(value, separators=(",", ":"))


def _exact(value: int) -> int | str:
    return value if -_MAX_EXACT <= value <= _MAX_EXACT else str(value)


def _timestamp(text: str) -> Any:
    from apache_beam.utils.timestamp import Timestamp

    return Timestamp.from_rfc3339(text)


_Types = dict[str, Callable[[Any], Any]]
_IN_JSON: _Types = {"uint64": str, **dict.fromkeys(_INTEGERS, _exact)}
_IN_BEAM: _Types = {"uint64": Decimal, "timestamp": _timestamp, **dict.fromkeys(_FLOATS, float)}

# An insert takes JSON as text ("is not a record", it says of an object), and a load takes JSON itself (text
# would become a JSON string). Rows for the Storage Write API are Beam's, and so typed.
_WRITERS: dict[str, _Writer] = {
    FILE_LOADS: _Writer(lambda value: value, _IN_JSON),
    STREAMING_INSERTS: _Writer(_json_text, _IN_JSON),
    STORAGE_WRITE_API: _Writer(_json_text, _IN_BEAM),
}
