"""The whole pipeline: source, batch, read, predict, sinks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.pvalue import PBegin

from transforms.batch_files import BatchFiles
from transforms.group_files import GroupFiles
from transforms.model_sharing import ModelSharing
from transforms.predict import Predict
from transforms.predictors.base import Predictor
from transforms.read_files import ReadFiles
from transforms.records import DeadLetter
from transforms.results import Results
from transforms.sinks.to_all import ToAll

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steps:
    """What the pipeline is made of; batch and streaming differ in the source and in settings only."""

    source: beam.PTransform[PBegin, Results]
    batch: BatchFiles | GroupFiles
    read: ReadFiles
    predictor: Predictor
    predictions: ToAll
    dead_letters: ToAll
    model_sharing: ModelSharing = "process"
    predict_hints: Mapping[str, str] = field(default_factory=dict)
    batches_in_flight: int = 1
    bytes_in_flight: int | None = None


def build(pipeline: beam.Pipeline, steps: Steps) -> None:
    """Add the steps to a pipeline: every input leaves as one prediction or as one dead letter."""
    files = pipeline | "Source" >> steps.source
    batched = files.main | "BatchFiles" >> steps.batch
    batches, *ungrouped = batched if isinstance(batched, Results) else (batched,)
    contents = batches | "ReadFiles" >> steps.read
    predict = Predict(
        steps.predictor,
        steps.batch.max_batch_size,
        steps.model_sharing,
        steps.batches_in_flight,
        steps.bytes_in_flight,
    )
    predicted = contents.main | "Predict" >> predict.with_resource_hints(**steps.predict_hints)
    refused = predicted.main | "WritePredictions" >> steps.predictions

    dead_letters = [*ungrouped, *(step.dead_letters for step in (files, contents, predicted)), refused]
    lost = dead_letters | "DeadLetters" >> beam.Flatten() | "WriteDeadLetters" >> steps.dead_letters
    lost | "LostDeadLetters" >> beam.Map(_tell)


def _tell(letter: DeadLetter) -> None:
    """Write to the log what no output takes: it must not be lost in silence."""
    _log.error("a dead letter could not be written: %s", letter)
