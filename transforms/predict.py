"""The heart: from batches of files to predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms import metrics
from transforms.model_sharing import MODEL_SHARINGS, Model, ModelSharing, SharedModel, kept, share
from transforms.predictors.base import Predictor
from transforms.predictors.engines import EngineReport
from transforms.predictors.predict_records import predict_each
from transforms.predictors.serving_model import Event, Loaded, Swapped
from transforms.records import DeadLetter, FileBytes, Prediction
from transforms.results import DEAD_LETTERS, Results, results_of

__all__ = ["Predict", "predict_each"]


@dataclass(eq=False)
class Predict(beam.PTransform[PCollection[Sequence[FileBytes]], Results]):
    """Predict on batches of files, with one model for all threads of a worker process.

    Attributes:
        predictor: The model; it is loaded on the workers.
        warm_up_batch_size: The size of the batch that the model is warmed up with.
        sharing: Whether it is loaded once for each `process`, or once for each `machine`.
    """

    predictor: Predictor
    warm_up_batch_size: int = 1
    sharing: ModelSharing = "process"

    def __post_init__(self) -> None:
        """Make the handle under which the workers find their common model."""
        super().__init__()
        if self.sharing not in MODEL_SHARINGS:
            raise ValueError(f"sharing is {self.sharing!r}; it must be one of {', '.join(MODEL_SHARINGS)}")
        self._shared = share(self.sharing)

    def expand(self, batches: PCollection[Sequence[FileBytes]]) -> Results:
        """Return `Prediction`s, and dead letters."""
        function = _Predict(self.predictor, self._shared, self.warm_up_batch_size)
        return results_of(batches, "Predict", beam.ParDo(function), Prediction)


class _Predict(beam.DoFn):
    def __init__(self, predictor: Predictor, shared: SharedModel, warm_up_batch_size: int) -> None:
        self._predictor = predictor
        self._shared = shared
        self._warm_up_batch_size = warm_up_batch_size
        self._model: Model | None = None

    def process(self, batch: Sequence[FileBytes]) -> Iterator[Prediction | TaggedOutput[str, DeadLetter]]:
        # Not in setup(): there, Beam keeps no metrics.
        if self._model is None:
            self._model = kept(self._shared.acquire(self._predictor, self._warm_up_batch_size))
        answer = self._model.answer(batch)
        for event in answer.events:
            _count(event)
        predictions = [record for record in answer.records if isinstance(record, Prediction)]
        metrics.count_batch(len(batch), len(predictions), answer.seconds)
        yield from predictions
        for record in answer.records:
            if isinstance(record, DeadLetter):
                yield TaggedOutput(DEAD_LETTERS, metrics.count_dead_letter(record))

    def teardown(self) -> None:
        self._model = None


def _count(event: Event | EngineReport) -> None:
    if isinstance(event, EngineReport):
        metrics.count_engine(event)
    elif isinstance(event, Loaded):
        metrics.count_model_load(event.load_seconds, event.warm_up_seconds)
    elif isinstance(event, Swapped):
        metrics.count_version_swap()
    else:
        metrics.count_version_refused()
