"""How records are encoded between Beam's steps: as JSON, so that a running job can be updated."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from apache_beam import coders

from transforms.predictors.arrays import numpy_dtype
from transforms.records import DeadLetter, FileRef, Outputs, Prediction

_STRINGS = "string"


class FileRefCoder(coders.Coder):
    """Encode a `FileRef` as a JSON list of its fields, with its content in base64."""

    def encode(self, value: FileRef) -> bytes:
        """Return the JSON."""
        content = None if value.content is None else b64encode(value.content).decode()
        return orjson.dumps(
            [value.uri, value.generation, value.size, value.attributes, content, value.arrived]
        )

    def decode(self, encoded: bytes) -> FileRef:
        """Return the record; what lacks at its end was not known to the job that has written it."""
        fields = (*orjson.loads(encoded), None, None)
        uri, generation, size, attributes, content, arrived = fields[:6]
        return FileRef(
            uri, generation, size, attributes, None if content is None else b64decode(content), arrived
        )

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


class PredictionCoder(coders.Coder):
    """Encode a `Prediction` as a JSON object of its fields; see `_encoded` for the outputs."""

    def encode(self, value: Prediction) -> bytes:
        """Return the JSON.

        Raises:
            TypeError: An output is nothing that a predictor may return.
        """
        return orjson.dumps(value, default=_encoded, option=orjson.OPT_PASSTHROUGH_SUBCLASS)

    def decode(self, encoded: bytes) -> Prediction:
        """Return the record, with the bits of its numbers as they were."""
        fields = orjson.loads(encoded)
        outputs: Outputs = {name: _decoded(output) for name, output in fields["outputs"].items()}
        predicted_at = datetime.fromisoformat(fields["predicted_at"])
        return Prediction(**{**fields, "outputs": outputs, "predicted_at": predicted_at})

    def is_deterministic(self) -> bool:
        """Tell that equal records have equal encodings only as far as their attributes are in one order."""
        return False


def _encoded(value: Any) -> Any:
    """Take apart what JSON does not hold: arrays, as `[dtype, shape, content]`; a scalar has no shape.

    The content is base64 of the numbers in C order, or the list of the texts. JSON's own numbers would lose
    what they are: a float32 comes back as a double, NaN not at all.
    """
    if isinstance(value, str):  # of a class of its own, such as NumPy's
        return str(value)
    if isinstance(value, (np.ndarray, np.generic)):
        shape = value.shape if isinstance(value, np.ndarray) else None
        if value.dtype.kind == "O":
            return [_STRINGS, shape, value.ravel().tolist()]
        return [_dtype_name(value.dtype), shape, b64encode(value.tobytes()).decode()]
    raise TypeError(f"{type(value).__name__} is no output of a prediction")


def _decoded(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    dtype, shape, content = value
    if dtype == _STRINGS:
        return np.array(content, object).reshape(shape)
    numbers = bytearray(b64decode(content))  # unlike bytes, they may be changed
    array = np.frombuffer(numbers, numpy_dtype(dtype))
    return array[0] if shape is None else array.reshape(shape)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    """Name a dtype with its byte order, as far as NumPy knows it itself."""
    name: str = dtype.name if dtype.kind == "V" else dtype.str
    return name
