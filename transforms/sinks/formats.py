"""The formats of files: how records become bytes."""

from __future__ import annotations

from typing import BinaryIO, Protocol

import pyarrow as pa

from transforms.schemas import Record
from transforms.sinks.csv_format import CsvWriter
from transforms.sinks.jsonl_format import JsonlWriter
from transforms.sinks.parquet_format import ParquetWriter


class RecordWriter(Protocol):
    """Write records to one file; it is made with the open file and the records' schema."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        """Write what stands before the records."""

    def write(self, record: Record) -> None:
        """Write a record, or keep it for later."""

    def close(self) -> None:
        """Write what was kept, and close the file."""


FORMATS: dict[str, type[RecordWriter]] = {
    "jsonl": JsonlWriter,
    "csv": CsvWriter,
    "parquet": ParquetWriter,
}
"""The writers by the name of the format, which is the ending of its files."""
