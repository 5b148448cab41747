"""JSON Lines: one record a line, with nested outputs."""

from __future__ import annotations

from typing import BinaryIO

import pyarrow as pa

from transforms.json_values import record_to_json
from transforms.schemas import Record


class JsonlWriter:
    """Write a JSON object a line."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file

    def write(self, record: Record) -> None:
        """See `RecordWriter.write`."""
        self._file.write(record_to_json(record) + b"\n")

    def close(self) -> None:
        """See `RecordWriter.close`."""
        self._file.close()
