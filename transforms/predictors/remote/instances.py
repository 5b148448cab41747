"""What KServe and Vertex AI share: `{"instances": [...]}` is answered by `{"predictions": [...]}`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from transforms.predictors.base import TensorSpec
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.json_decoding import read_answer
from transforms.predictors.remote.json_encoding import Pair, encode_instance, instances_body, refuse_shared
from transforms.predictors.remote.json_outputs import describe_row, predictions_of, read_rows
from transforms.predictors.remote.wire import EncodedItem, Parsed, Reply, Request


@dataclass(frozen=True)
class InstancesFormat(ABC):
    """See `WireFormat`. Which version answers is the server's choice: none can be asked for.

    Attributes:
        endpoint: The model's address.
    """

    endpoint: Endpoint

    VERSION_KEY: ClassVar[str]
    """Under which an answer may tell the version that has made it."""

    @property
    def max_items(self) -> int | None:
        """See `WireFormat.max_items`."""
        return None

    @property
    @abstractmethod
    def target(self) -> str:
        """What predictions are asked of."""

    @property
    def others(self) -> Sequence[Pair]:
        """What a request has beside the instances, encoded, with their names."""
        return ()

    def encode(self, values: Values) -> EncodedItem:
        """See `WireFormat.encode`."""
        return encode_instance(values)

    def overhead(self, shared: Tensors) -> int:
        """See `WireFormat.overhead`."""
        return len(self.request([], shared, None).body)

    def request(self, items: Sequence[EncodedItem], shared: Tensors, version: str | None) -> Request:
        """See `WireFormat.request`.

        Raises:
            ValueError: An input has no batch dimension.
        """
        refuse_shared(shared, "serve a signature without it")
        return Request(self.target, instances_body(items, self.others))

    def parse(self, reply: Reply, count: int, outputs: Sequence[TensorSpec]) -> Parsed:
        """See `WireFormat.parse`."""
        answer, predictions = self._read(reply, count)
        version = answer.get(self.VERSION_KEY)
        return Parsed(read_rows(predictions, outputs), version if isinstance(version, str) else None)

    def describe(self, reply: Reply) -> tuple[TensorSpec, ...]:
        """See `WireFormat.describe`."""
        _, (prediction,) = self._read(reply, 1)
        return describe_row(prediction, reply)

    def _read(self, reply: Reply, count: int) -> tuple[Mapping[str, Any], Sequence[Any]]:
        answer = read_answer(reply.body, "predictions")
        return answer, predictions_of(answer["predictions"], count, reply)
