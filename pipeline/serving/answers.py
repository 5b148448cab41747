"""From predictions to the body of an answer.

A float is written as the double that it equals, with as many digits as that needs; NaN and the infinities,
for which JSON has no numbers, as the strings "NaN", "Infinity" and "-Infinity", as protocol buffers do it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from transforms.json_values import to_json
from transforms.records import Outputs

CONTENT_TYPE = "application/json"


def answer_body(predictions: Iterable[Outputs], model_version: str) -> bytes:
    """Write the predictions of a request's instances, in order, and the version that made them."""
    rows = [
        {name: orjson.Fragment(to_json(_exact(value))) for name, value in outputs.items()}
        for outputs in predictions
    ]
    return orjson.dumps({"predictions": rows, "model_version": model_version})


def error_body(message: str) -> bytes:
    """Write why there is no answer."""
    return orjson.dumps({"error": message})


def _exact(value: Any) -> Any:
    """Widen floats: orjson writes a float32 with the digits that tell it from other float32s only."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return np.asarray(value, np.float64)[()] if kind == "f" else value
