"""CSV: one record a line, after a header, with a column `outputs.NAME` for each output."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from transforms.json_values import to_json
from transforms.schemas import OUTPUTS, Record


class CsvWriter:
    """Write comma-separated text in UTF-8; vectors and attributes are written as JSON."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="")
        self._rows = csv.writer(self._text, lineterminator="\n")
        self._fields = schema.names
        self._outputs = (
            [field.name for field in schema.field(OUTPUTS).type] if OUTPUTS in self._fields else []
        )
        self._rows.writerow(self._columns())

    def write(self, record: Record) -> None:
        """See `RecordWriter.write`."""
        self._rows.writerow([_cell(value) for value in self._values(record)])

    def close(self) -> None:
        """See `RecordWriter.close`."""
        self._text.close()

    def _columns(self) -> Iterator[str]:
        for field in self._fields:
            yield from [f"{OUTPUTS}.{name}" for name in self._outputs] if field == OUTPUTS else [field]

    def _values(self, record: Record) -> Iterator[Any]:
        for field in self._fields:
            value = getattr(record, field)
            yield from [value[name] for name in self._outputs] if field == OUTPUTS else [value]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return to_json(value).decode().strip('"')
