"""The heart: from batches of files to predictions."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.shared import Shared

from transforms.errors import ContractError
from transforms.metrics import count_batch, count_dead_letter, count_model_load
from transforms.predictors.base import Outcome, Predictor
from transforms.predictors.contract import predict_checked
from transforms.predictors.isolation import isolate
from transforms.records import DeadLetter, FileBytes, Prediction, prediction_id, utc_now
from transforms.results import DEAD_LETTERS, Results, results_of


@dataclass(eq=False)
class Predict(beam.PTransform[PCollection[Sequence[FileBytes]], Results]):
    """Predict on batches of files, with one model for all threads of a worker process.

    Attributes:
        predictor: The model; it is loaded on the workers, once per process.
        warm_up_batch_size: The size of the batch that the model is warmed up with.
    """

    predictor: Predictor
    warm_up_batch_size: int = 1

    def __post_init__(self) -> None:
        """Make the handle under which the worker's threads find their common model."""
        super().__init__()
        self._shared = Shared()

    def expand(self, batches: PCollection[Sequence[FileBytes]]) -> Results:
        """Return `Prediction`s, and dead letters."""
        function = _Predict(self.predictor, self._shared, self.warm_up_batch_size)
        return results_of(batches, "Predict", beam.ParDo(function), Prediction)


def predict_each(predictor: Predictor, batch: Sequence[FileBytes]) -> Sequence[Outcome | Exception]:
    """Predict on a batch, and find the items to blame where the predictor could not tell them.

    Raises:
        ContractError: The predictor broke its promise, see `predict_checked`.
    """

    def predict(items: Sequence[FileBytes]) -> Sequence[Outcome | Exception]:
        return predict_checked(predictor, items)

    try:
        return predict(batch)
    except ContractError:
        raise
    except Exception as error:
        return [error] if len(batch) == 1 else isolate(predict, batch, as_failure=lambda failure: failure)


class _Predict(beam.DoFn):
    def __init__(self, predictor: Predictor, shared: Shared, warm_up_batch_size: int) -> None:
        self._predictor = predictor
        self._shared = shared
        self._warm_up_batch_size = warm_up_batch_size
        self._loaded: Predictor | None = None

    def process(self, batch: Sequence[FileBytes]) -> Iterator[Prediction | TaggedOutput[str, DeadLetter]]:
        # Not in setup(): there, Beam keeps no metrics.
        loaded = self._loaded = self._loaded or self._shared.acquire(self._load)
        start = time.monotonic()
        outcomes = predict_each(loaded, batch)
        seconds = time.monotonic() - start
        records = list(_records(loaded, batch, outcomes))
        predictions = [record for record in records if isinstance(record, Prediction)]
        count_batch(len(batch), len(predictions), seconds)
        yield from predictions
        for record in records:
            if isinstance(record, DeadLetter):
                yield TaggedOutput(DEAD_LETTERS, count_dead_letter(record))

    def _load(self) -> Predictor:
        start = time.monotonic()
        predictor = copy.copy(self._predictor)  # the original stays light enough to be pickled
        predictor.load()
        loaded = time.monotonic()
        predictor.warm_up(self._warm_up_batch_size)
        count_model_load(loaded - start, time.monotonic() - loaded)
        return predictor


def _records(
    predictor: Predictor, batch: Sequence[FileBytes], outcomes: Sequence[Outcome | Exception]
) -> Iterator[Prediction | DeadLetter]:
    now = utc_now()
    version, signature = predictor.model_version, predictor.signature
    for item, outcome in zip(batch, outcomes, strict=True):
        ref = item.ref
        identity = prediction_id(ref, version, signature.name)
        if isinstance(outcome, Mapping):
            yield Prediction(
                prediction_id=identity,
                uri=ref.uri,
                generation=ref.generation,
                model=predictor.model,
                model_version=version,
                signature=signature.name,
                outputs=outcome,
                attributes=ref.attributes,
                predicted_at=now,
            )
        else:
            yield DeadLetter.of(outcome, ref, prediction_id=identity, model_version=version)
