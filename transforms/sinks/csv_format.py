"""CSV: one record a line, after a header, with a column `outputs.NAME` for each output."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from transforms.json_values import to_json
from transforms.schemas import OUTPUTS, Record, is_json


class CsvWriter:
    """Write comma-separated text in UTF-8; vectors and attributes are written as JSON."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="")
        self._rows = csv.writer(self._text)  # ends lines as RFC 4180 says, with CR LF: so both get quoted
        self._columns = [(field.name, is_json(field)) for field in schema]
        self._outputs = [(field.name, is_json(field)) for field in _outputs(schema)]
        self._rows.writerow(self._header())

    def write(self, record: Record) -> None:
        """See `RecordWriter.write`."""
        self._rows.writerow(self._cells(record))

    def close(self) -> None:
        """See `RecordWriter.close`."""
        self._text.close()

    def _header(self) -> Iterator[str]:
        for column, _ in self._columns:
            yield from [f"{OUTPUTS}.{name}" for name, _ in self._outputs] if column == OUTPUTS else [column]

    def _cells(self, record: Record) -> Iterator[str]:
        for column, as_json in self._columns:
            value = getattr(record, column)
            if column == OUTPUTS:
                yield from (_cell(value[name], output_as_json) for name, output_as_json in self._outputs)
            else:
                yield _cell(value, as_json)


def _outputs(schema: pa.Schema) -> list[pa.Field]:
    return list(schema.field(OUTPUTS).type) if OUTPUTS in schema.names else []


def _cell(value: Any, as_json: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and not as_json:
        return value
    text = to_json(value).decode()
    return text if as_json else text.strip('"')
