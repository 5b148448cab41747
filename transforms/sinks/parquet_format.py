"""Apache Parquet: the types of the signature, vectors as lists."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.json_values import to_json
from transforms.schemas import OUTPUTS, Record, is_json

ROWS_PER_GROUP = 4_096
BYTES_PER_GROUP = 64 << 20


class ParquetWriter:
    """Write records in groups of rows; a group is held in memory."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._rows: list[Record] = []
        self._bytes = 0

    def write(self, record: Record) -> None:
        """See `RecordWriter.write`."""
        self._rows.append(record)
        self._bytes += sum(getattr(value, "nbytes", 0) for value in getattr(record, OUTPUTS, {}).values())
        if len(self._rows) >= ROWS_PER_GROUP or self._bytes >= BYTES_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """See `RecordWriter.close`."""
        self._flush()
        self._writer.close()
        self._file.close()

    def _flush(self) -> None:
        columns = [_array([getattr(row, field.name) for row in self._rows], field) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows.clear()
        self._bytes = 0


def _array(values: list[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_struct(field.type):
        columns = [_array([value[inner.name] for value in values], inner) for inner in field.type]
        return pa.StructArray.from_arrays(columns, fields=list(field.type))
    if is_json(field):
        return pa.array([to_json(value).decode() for value in values], type=field.type)
    return pa.array([_nested(value) for value in values], type=field.type)


def _nested(value: Any) -> Any:
    """Return what Arrow takes: a vector as it is, a matrix as lists."""
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value
