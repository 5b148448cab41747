"""What becomes of a request for predictions; without a network."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.serving.answers import answer_body
from pipeline.serving.failure import INTERNAL_ERROR, InstanceInvalid, RequestFailed, failure_of
from pipeline.serving.instances import InstanceReader, feed_of, instances_of
from transforms.allowed_places import AllowedPlaces
from transforms.errors import ItemError
from transforms.predictors.base import Outcome, Predictor
from transforms.predictors.predict_records import predict_each
from transforms.predictors.serving_model import ServingModel
from transforms.records import FileBytes

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answering:
    """Answers requests with a model that is loaded, from any thread.

    Attributes:
        model: What predicts.
        item_name: What the input that takes the item was called at launch; a newer version may call it
            otherwise, and clients need not know.
        allowed: Where files may be, for a model that takes their names.
        batch_size: The most instances that the model sees at once.
    """

    model: ServingModel
    item_name: str
    allowed: AllowedPlaces
    batch_size: int

    def answer(self, request: Any) -> bytes:
        """Return the answer to a request, of one version of the model.

        Raises:
            RequestFailed: There is none.
            ContractError: The model cannot answer any request.
        """
        predictor = self.model.current()
        instances = instances_of(request, predictor.signature.name)
        outcomes = self._outcomes(predictor, instances)
        problems = {
            position: outcome for position, outcome in enumerate(outcomes) if isinstance(outcome, Exception)
        }
        if problems:
            raise self._told(problems)
        return answer_body((row for row in outcomes if isinstance(row, Mapping)), predictor.model_version)

    def _outcomes(self, predictor: Predictor, instances: Sequence[Any]) -> list[Outcome | Exception]:
        feed = feed_of(predictor)
        reader = InstanceReader(feed, frozenset({feed.item.name, self.item_name}), self.allowed)
        read = [_read(reader, position, instance) for position, instance in enumerate(instances)]
        items = [item for item in read if isinstance(item, FileBytes)]
        predicted = iter(self._predicted(predictor, items))
        return [next(predicted) if isinstance(item, FileBytes) else item for item in read]

    def _predicted(self, predictor: Predictor, items: Sequence[FileBytes]) -> Iterator[Outcome | Exception]:
        for first in range(0, len(items), self.batch_size):
            batch = items[first : first + self.batch_size]
            outcomes = predict_each(predictor, batch)
            self.model.observe(batch, outcomes)
            yield from outcomes

    def _told(self, problems: Mapping[int, Exception]) -> RequestFailed:
        failure = failure_of(problems)
        if failure.status >= INTERNAL_ERROR:
            _LOGGER.warning("%s", failure.message)
        return failure


def _read(reader: InstanceReader, position: int, instance: Any) -> FileBytes | ItemError | InstanceInvalid:
    try:
        return reader.read(position, instance)
    except ItemError as error:
        return error
    except ValueError as error:
        return InstanceInvalid(str(error))
