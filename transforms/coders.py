"""How records are encoded between Beam's steps: as JSON, so that a running job can be updated."""

from __future__ import annotations

from datetime import datetime

import orjson
from apache_beam import coders

from transforms.records import DeadLetter, FileRef


class FileRefCoder(coders.Coder):
    """Encode a `FileRef` as a JSON list of its fields."""

    def encode(self, value: FileRef) -> bytes:
        """Return the JSON."""
        return orjson.dumps([value.uri, value.generation, value.size, value.attributes])

    def decode(self, encoded: bytes) -> FileRef:
        """Return the record."""
        return FileRef(*orjson.loads(encoded))

    def is_deterministic(self) -> bool:
        """Tell that equal records have equal encodings only as far as their attributes are in one order."""
        return False


class DeadLetterCoder(coders.Coder):
    """Encode a `DeadLetter` as a JSON object of its fields."""

    def encode(self, value: DeadLetter) -> bytes:
        """Return the JSON."""
        return orjson.dumps(value)

    def decode(self, encoded: bytes) -> DeadLetter:
        """Return the record."""
        fields = orjson.loads(encoded)
        return DeadLetter(**{**fields, "failed_at": datetime.fromisoformat(fields["failed_at"])})

    def is_deterministic(self) -> bool:
        """Tell that equal records have equal encodings only as far as their attributes are in one order."""
        return False
