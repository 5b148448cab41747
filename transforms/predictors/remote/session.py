"""A worker's conversation with an endpoint: from encoded items to what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from transforms.errors import (
    AnswerInvalid,
    AnswerTooLarge,
    EndpointClosed,
    EndpointRefused,
    EndpointUnavailable,
    InstanceRefused,
    ItemError,
    RemoteError,
    RequestTooLarge,
)
from transforms.predictors.base import Outcome, TensorSpec, VersionedOutputs
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.caller import Caller
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.packing import pack
from transforms.predictors.remote.request_report import RequestReport
from transforms.predictors.remote.served_version import ServedVersion
from transforms.predictors.remote.wire import Action, CallFailed, EncodedItem, Parsed, WireFormat
from transforms.records import Outputs

_GONE = "404"

_ERRORS: dict[Action, type[RemoteError]] = {
    Action.RETRY: EndpointUnavailable,
    Action.SPLIT: RequestTooLarge,
    Action.BISECT: InstanceRefused,
    Action.RETRY_THEN_BISECT: InstanceRefused,
    Action.GIVE_UP: EndpointClosed,
}
_ERRORS_OF_ANSWERS: dict[str, type[RemoteError]] = {"answer": AnswerInvalid, "answer size": AnswerTooLarge}


class Session:
    """Asks an endpoint, from any number of threads.

    Args:
        connection: The endpoint, and how it is talked to.
        wire: Writes requests and reads answers.
        caller: Sends requests, and repeats them.
        outputs: What an answer must hold for each item.
        version: Which version to ask for; None to leave it to the server.
        shared: The values of inputs that have no batch dimension.
    """

    def __init__(
        self,
        connection: Connection,
        wire: WireFormat,
        caller: Caller,
        outputs: Sequence[TensorSpec],
        *,
        version: ServedVersion | None = None,
        shared: Tensors,
    ) -> None:
        self._connection = connection
        self._wire = wire
        self._caller = caller
        self._outputs = outputs
        self._version = version
        self._shared = shared
        self._room = connection.request_bytes - wire.overhead(shared)
        self._pool = ThreadPoolExecutor(connection.max_concurrent_requests, thread_name_prefix="request")
        self._has_answered = threading.Event()

    def predict(self, items: Sequence[EncodedItem]) -> list[Outcome]:
        """Ask for the outputs of items; the requests of one call go out at the same time.

        Raises:
            EndpointRefused: The endpoint has not answered yet, and refuses this for a reason that has nothing
                to do with the items.
        """
        outcomes: dict[int, Outcome] = {
            position: self._too_large(item) for position, item in enumerate(items) if item.size > self._room
        }
        rest = [position for position in range(len(items)) if position not in outcomes]
        packed = pack([items[position] for position in rest], self._room, self._wire.max_items)
        requests = [[rest[number] for number in numbers] for numbers in packed]
        answers = [self._pool.submit(self._first, [items[at] for at in request]) for request in requests]
        for request, answer in zip(requests, answers, strict=True):
            outcomes.update(zip(request, answer.result(), strict=True))
        return [outcomes[position] for position in range(len(items))]

    def new_reports(self) -> list[RequestReport]:
        """Return what has become of requests since this was last called."""
        return self._caller.new_reports()

    def _first(self, items: Sequence[EncodedItem]) -> list[Outcome]:
        return self._ask(items, time.monotonic() + self._connection.request_deadline)

    def _ask(self, items: Sequence[EncodedItem], deadline: float) -> list[Outcome]:
        try:
            parsed, version = self._asked(items, deadline)
        except CallFailed as failed:
            return self._after(failed, items, deadline)
        self._has_answered.set()
        return [_outcome(row, parsed.model_version or version) for row in parsed.rows]

    def _asked(self, items: Sequence[EncodedItem], deadline: float) -> tuple[Parsed, str | None]:
        """Return the answer, and the version that was asked for."""
        version = self._version.current() if self._version else None
        try:
            return self._asked_of(version, items, deadline), version
        except CallFailed as failed:
            other = (
                self._version.after(version) if self._version and version and failed.status == _GONE else None
            )
            if other is None:
                raise
        return self._asked_of(other, items, deadline), other

    def _asked_of(self, version: str | None, items: Sequence[EncodedItem], deadline: float) -> Parsed:
        request = self._wire.request(items, self._shared, version)
        return self._wire.parse(self._caller.call(request, deadline), len(items), self._outputs)

    def _after(self, failed: CallFailed, items: Sequence[EncodedItem], deadline: float) -> list[Outcome]:
        if failed.action is Action.GIVE_UP and not self._has_answered.is_set():
            raise EndpointRefused(f"--endpoint {self._connection.endpoint.address}: {failed}") from failed
        if failed.action in (Action.SPLIT, Action.BISECT) and len(items) > 1:
            middle = len(items) // 2
            return [*self._ask(items[:middle], deadline), *self._ask(items[middle:], deadline)]
        return [error_of(failed) for _ in items]

    def _too_large(self, item: EncodedItem) -> RequestTooLarge:
        return RequestTooLarge(
            f"the item takes {item.size:,} bytes of a request, of which there are {max(self._room, 0):,} "
            f"(--max_request_bytes {self._connection.request_bytes:,})"
        )


def error_of(failed: CallFailed) -> RemoteError:
    """Tell what a failed call means for the only item that it was about."""
    kind = _ERRORS[failed.action]
    if failed.action is not Action.RETRY:
        kind = _ERRORS_OF_ANSWERS.get(failed.status, kind)
    return kind(failed.message, failed.attempts)


def _outcome(row: Outputs | ItemError, version: str | None) -> Outcome:
    return row if version is None or isinstance(row, ItemError) else VersionedOutputs(row, version)
