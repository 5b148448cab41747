"""Records as JSON, with what JSON has no literal for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from transforms.records import DeadLetter, Prediction

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def to_json(value: Any) -> bytes:
    """Encode a value: NumPy's as numbers and lists, NaN and infinities as "NaN", "Infinity" and "-Infinity".

    Those strings are what BigQuery and protocol buffers read in JSON.
    """
    return orjson.dumps(_with_literals(value), default=_plain, option=_OPTIONS)


def record_to_json(record: Prediction | DeadLetter) -> bytes:
    """Encode a record as an object of its fields; see `to_json` for the values."""
    if isinstance(record, Prediction) and any(map(_is_special, record.outputs.values())):
        outputs = {name: _with_literals(value) for name, value in record.outputs.items()}
        record = replace(record, outputs=outputs)
    return orjson.dumps(record, default=_plain, option=_OPTIONS)


def _is_special(value: Any) -> bool:
    """Tell whether there is a NaN or an infinity in a value."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f" if isinstance(value, float) else "")
    return kind == "f" and not np.isfinite(value).all()


def _with_literals(value: Any) -> Any:
    return _literal(np.asarray(value)[()]) if _is_special(value) else value


def _literal(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_literal(item) for item in value]
    if np.isfinite(value):
        return value
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plain(value: Any) -> Any:
    """Take apart what orjson does not know: arrays of strings, and views that are not contiguous."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value) if value.ndim and value.dtype.kind != "O" else value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
