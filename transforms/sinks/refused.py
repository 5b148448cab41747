"""What becomes of a record that an output does not take."""

from __future__ import annotations

from transforms.errors import WriteError
from transforms.metrics import count_dead_letter
from transforms.records import DeadLetter, FileRef
from transforms.schemas import Record


def refused(record: Record, error: WriteError) -> DeadLetter:
    """Make the dead letter of a record that an output has refused, and count it."""
    ref = None if record.uri is None else FileRef(record.uri, record.generation, attributes=record.attributes)
    letter = DeadLetter.of(error, ref, prediction_id=record.prediction_id, model_version=record.model_version)
    return count_dead_letter(letter)
