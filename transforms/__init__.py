"""The pipeline's steps, and what they are made of, for use in pipelines of one's own.

Each name is imported with its first use: so the predictors can be used without Beam, and the rest without
TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transforms.allowed_places import AllowedPlaces
    from transforms.batch_files import BatchFiles
    from transforms.batch_groups import BatchGroups
    from transforms.group_files import GroupFiles
    from transforms.model_handler_predictor import ModelHandlerPredictor
    from transforms.predict import Predict
    from transforms.predictor_model_handler import PredictorModelHandler
    from transforms.predictors.base import Signature, TensorSpec
    from transforms.predictors.export import decode_and_resize, export_model
    from transforms.predictors.open_model import open_model
    from transforms.predictors.polling import open_newest
    from transforms.predictors.postprocess import with_postprocessing
    from transforms.predictors.top_classes import with_top_classes
    from transforms.predictors.versions import VersionedModel
    from transforms.read_files import ReadFiles
    from transforms.records import DeadLetter, FileBytes, FileRef, Prediction
    from transforms.results import Results
    from transforms.schemas import arrow_schema, bigquery_schema
    from transforms.sinks.to_bigquery import ToBigQuery
    from transforms.sinks.to_files import ToFiles
    from transforms.sinks.to_pubsub import ToPubSub
    from transforms.sources.drop_duplicates import DropDuplicates
    from transforms.sources.from_inputs import FromInputs
    from transforms.sources.from_pubsub import FromPubSub

_MODULES = {
    "AllowedPlaces": "transforms.allowed_places",
    "BatchFiles": "transforms.batch_files",
    "BatchGroups": "transforms.batch_groups",
    "DeadLetter": "transforms.records",
    "DropDuplicates": "transforms.sources.drop_duplicates",
    "FileBytes": "transforms.records",
    "FileRef": "transforms.records",
    "FromInputs": "transforms.sources.from_inputs",
    "FromPubSub": "transforms.sources.from_pubsub",
    "GroupFiles": "transforms.group_files",
    "ModelHandlerPredictor": "transforms.model_handler_predictor",
    "Predict": "transforms.predict",
    "Prediction": "transforms.records",
    "PredictorModelHandler": "transforms.predictor_model_handler",
    "ReadFiles": "transforms.read_files",
    "Results": "transforms.results",
    "Signature": "transforms.predictors.base",
    "TensorSpec": "transforms.predictors.base",
    "ToBigQuery": "transforms.sinks.to_bigquery",
    "ToFiles": "transforms.sinks.to_files",
    "ToPubSub": "transforms.sinks.to_pubsub",
    "VersionedModel": "transforms.predictors.versions",
    "arrow_schema": "transforms.schemas",
    "bigquery_schema": "transforms.schemas",
    "decode_and_resize": "transforms.predictors.export",
    "export_model": "transforms.predictors.export",
    "open_model": "transforms.predictors.open_model",
    "open_newest": "transforms.predictors.polling",
    "with_postprocessing": "transforms.predictors.postprocess",
    "with_top_classes": "transforms.predictors.top_classes",
}

__all__ = [
    "AllowedPlaces",
    "BatchFiles",
    "BatchGroups",
    "DeadLetter",
    "DropDuplicates",
    "FileBytes",
    "FileRef",
    "FromInputs",
    "FromPubSub",
    "GroupFiles",
    "ModelHandlerPredictor",
    "Predict",
    "Prediction",
    "PredictorModelHandler",
    "ReadFiles",
    "Results",
    "Signature",
    "TensorSpec",
    "ToBigQuery",
    "ToFiles",
    "ToPubSub",
    "VersionedModel",
    "arrow_schema",
    "bigquery_schema",
    "decode_and_resize",
    "export_model",
    "open_model",
    "open_newest",
    "with_postprocessing",
    "with_top_classes",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
