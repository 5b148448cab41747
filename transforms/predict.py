"""The heart: from batches of files to predictions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput

from transforms import metrics
from transforms.in_flight import InFlight
from transforms.model_sharing import MODEL_SHARINGS, Answer, Model, ModelSharing, SharedModel, kept, share
from transforms.places import Element, Place
from transforms.predictors.base import Predictor
from transforms.predictors.engines.report import EngineReport
from transforms.predictors.predict_records import predict_each
from transforms.predictors.remote.request_report import RequestReport
from transforms.predictors.reports import Report
from transforms.predictors.serving_model import Event, Loaded, Swapped
from transforms.records import DeadLetter, FileBytes, Prediction
from transforms.results import DEAD_LETTERS, Results, results_of

__all__ = ["Predict", "predict_each"]


@dataclass(eq=False)
class Predict(beam.PTransform[PCollection[Sequence[FileBytes]], Results]):
    """Predict on batches of files, with one model for all threads of a worker process.

    Attributes:
        predictor: The model; it is loaded on the workers.
        warm_up_batch_size: The size of the batch that the model is warmed up with: of a full one.
        sharing: Whether it is loaded once for each `process`, or once for each `machine`.
        batches_in_flight: How many batches one worker thread hands to the model before it waits for an
            answer: more than one for a model that is elsewhere. They leave as they are answered, in any
            order.
        bytes_in_flight: The bytes of files that these batches may have together before another one joins
            them; None for any number.
    """

    predictor: Predictor
    warm_up_batch_size: int = 1
    sharing: ModelSharing = "process"
    batches_in_flight: int = 1
    bytes_in_flight: int | None = None

    def __post_init__(self) -> None:
        """Make the handle under which the workers find their common model."""
        super().__init__()
        if self.sharing not in MODEL_SHARINGS:
            raise ValueError(f"sharing is {self.sharing!r}; it must be one of {', '.join(MODEL_SHARINGS)}")
        if self.batches_in_flight < 1:
            raise ValueError(f"batches_in_flight is {self.batches_in_flight}; it must be at least 1")
        if self.bytes_in_flight is not None and self.bytes_in_flight < 1:
            raise ValueError(f"bytes_in_flight is {self.bytes_in_flight}; it must be at least 1, or None")
        self._shared = share(self.sharing)

    def expand(self, batches: PCollection[Sequence[FileBytes]]) -> Results:
        """Return `Prediction`s, and dead letters."""
        arguments = self.predictor, self._shared, self.warm_up_batch_size
        if self.batches_in_flight == 1:
            function = _Predict(*arguments)
        else:
            function = _PredictMany(self.batches_in_flight, self.bytes_in_flight, *arguments)
        return results_of(batches, "Predict", beam.ParDo(function), Prediction)


class _Predict(beam.DoFn):
    def __init__(self, predictor: Predictor, shared: SharedModel, warm_up_batch_size: int) -> None:
        self._predictor = predictor
        self._shared = shared
        self._warm_up_batch_size = warm_up_batch_size
        self._acquired: Model | None = None

    def process(self, batch: Sequence[FileBytes]) -> Iterator[Prediction | TaggedOutput[str, DeadLetter]]:
        answer = self._model().answer(batch)
        self._count(answer, _arrivals(batch))
        for record in answer.records:
            yield record if isinstance(record, Prediction) else TaggedOutput(DEAD_LETTERS, record)

    def teardown(self) -> None:
        self._acquired = None

    def _model(self) -> Model:
        # Not in setup(): there, Beam keeps no metrics.
        if self._acquired is None:
            self._acquired = kept(self._shared.acquire(self._predictor, self._warm_up_batch_size))
        return self._acquired

    def _count(self, answer: Answer, arrivals: Sequence[float | None]) -> None:
        for event in answer.events:
            _count(event)
        predicted = [isinstance(record, Prediction) for record in answer.records]
        metrics.count_batch(len(answer.records), self._warm_up_batch_size, sum(predicted), answer.seconds)
        if any(arrivals):
            now = time.time()
            came = zip(arrivals, predicted, strict=True)
            metrics.count_latencies([now - arrived for arrived, is_there in came if arrived and is_there])
        for record in answer.records:
            if isinstance(record, DeadLetter):
                metrics.count_dead_letter(record)


class _Sent(NamedTuple):
    """What is kept of a batch until its answer comes."""

    place: Place
    arrivals: Sequence[float | None]


class _PredictMany(_Predict):
    """Goes on with the next batches while earlier ones are under way."""

    def __init__(self, batches_in_flight: int, bytes_in_flight: int | None, *others: Any) -> None:
        super().__init__(*others)
        self._limits = batches_in_flight, bytes_in_flight
        self._flight: InFlight[_Sent, Answer] | None = None

    def start_bundle(self) -> None:
        if self._flight:  # batches of a bundle that failed, and that will come again
            self._stop()

    def process(  # type: ignore[override]
        self,
        batch: Sequence[FileBytes],
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Element]:
        flight = self._flight = self._flight if self._flight is not None else InFlight(*self._limits)
        sent = _Sent(Place(timestamp, window), _arrivals(batch))
        flight.start(partial(self._model().answer, batch), sent, _size(batch))
        while flight.is_full():
            yield from self._deliver(flight)

    def finish_bundle(self) -> Iterator[Element]:
        while self._flight:
            yield from self._deliver(self._flight)

    def teardown(self) -> None:
        self._stop()
        super().teardown()

    def _deliver(self, flight: InFlight[_Sent, Answer]) -> Iterator[Element]:
        sent, answer = flight.take()
        self._count(answer, sent.arrivals)
        for record in answer.records:
            put = sent.place.at(record)
            yield put if isinstance(record, Prediction) else TaggedOutput(DEAD_LETTERS, put)

    def _stop(self) -> None:
        if self._flight is not None:
            self._flight.close()
            self._flight = None


def _arrivals(batch: Sequence[FileBytes]) -> Sequence[float | None]:
    return [item.ref.arrived for item in batch]


def _size(batch: Sequence[FileBytes]) -> int:
    return sum(len(item.content or b"") for item in batch)


def _count(event: Event | Report) -> None:
    if isinstance(event, EngineReport):
        metrics.count_engine(event)
    elif isinstance(event, RequestReport):
        metrics.count_requests(event)
    elif isinstance(event, Loaded):
        metrics.count_model_load(event.load_seconds, event.warm_up_seconds)
    elif isinstance(event, Swapped):
        metrics.count_version_swap()
    else:
        metrics.count_version_refused()
