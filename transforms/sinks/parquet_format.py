"""Apache Parquet: the types of the signature, vectors as lists."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.json_values import to_json
from transforms.schemas import JSON_TEXT, Record

ROWS_PER_GROUP = 4_096


class ParquetWriter:
    """Write records in groups of rows; a group is held in memory."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._rows: list[Record] = []

    def write(self, record: Record) -> None:
        """See `RecordWriter.write`."""
        self._rows.append(record)
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """See `RecordWriter.close`."""
        self._flush()
        self._writer.close()
        self._file.close()

    def _flush(self) -> None:
        columns = [
            _array([getattr(row, field.name) for row in self._rows], field.type) for field in self._schema
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows.clear()


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_struct(kind):
        columns = [_array([value[field.name] for value in values], field.type) for field in kind]
        return pa.StructArray.from_arrays(columns, fields=list(kind))
    return pa.array([_value(value, kind) for value in values], type=kind)


def _value(value: Any, kind: pa.DataType) -> Any:
    if kind == JSON_TEXT and value is not None and not isinstance(value, str):
        return to_json(value).decode()
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return value.tolist()
    return value
