"""The pipeline's steps, and what they are made of, for use in pipelines of one's own.

Each name is imported with its first use: so the predictors can be used without Beam, and the rest without
TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transforms.batch_files import BatchFiles
    from transforms.predict import Predict
    from transforms.predictors.open_model import open_model
    from transforms.read_files import ReadFiles
    from transforms.records import DeadLetter, FileBytes, FileRef, Prediction
    from transforms.results import Results
    from transforms.schemas import arrow_schema
    from transforms.sinks.to_files import ToFiles
    from transforms.sources.from_inputs import FromInputs

_MODULES = {
    "BatchFiles": "transforms.batch_files",
    "DeadLetter": "transforms.records",
    "FileBytes": "transforms.records",
    "FileRef": "transforms.records",
    "FromInputs": "transforms.sources.from_inputs",
    "Predict": "transforms.predict",
    "Prediction": "transforms.records",
    "ReadFiles": "transforms.read_files",
    "Results": "transforms.results",
    "open_model": "transforms.predictors.open_model",
    "ToFiles": "transforms.sinks.to_files",
    "arrow_schema": "transforms.schemas",
}

__all__ = [
    "BatchFiles",
    "DeadLetter",
    "FileBytes",
    "FileRef",
    "FromInputs",
    "Predict",
    "Prediction",
    "ReadFiles",
    "Results",
    "ToFiles",
    "arrow_schema",
    "open_model",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
