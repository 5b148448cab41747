"""A worker's conversation with an endpoint: from encoded items to what became of them."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

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
from transforms.predictors.daemon_pool import DaemonPool
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.caller import Caller
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.packing import pack
from transforms.predictors.remote.redaction import redacted
from transforms.predictors.remote.request_report import RequestReport
from transforms.predictors.remote.served_version import ServedVersion
from transforms.predictors.remote.wire import Action, CallFailed, EncodedItem, Parsed, Reply, WireFormat
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


@dataclass(frozen=True)
class _Batch:
    """What one request asks for.

    Attributes:
        items: At least one.
        deadline: Until when it may be asked for.
        is_suspect: Whether one of the items, or of those that were asked for with them, may be to blame.
    """

    items: Sequence[EncodedItem]
    deadline: float
    is_suspect: bool = False

    def halves(self, failed: CallFailed) -> tuple[_Batch, _Batch]:
        """Part the items, after they were asked for in vain."""
        middle = len(self.items) // 2
        is_suspect = self.is_suspect or failed.action is Action.BISECT
        return (
            replace(self, items=self.items[:middle], is_suspect=is_suspect),
            replace(self, items=self.items[middle:], is_suspect=is_suspect),
        )


class Session:
    """Asks an endpoint, from any number of threads; when it is dropped, its connections are closed.

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
        self._pool = DaemonPool(connection.max_concurrent_requests, "request")
        self._has_answered = threading.Event()
        weakref.finalize(self, caller.close)

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
        answers = [
            self._pool.submit(partial(self._first, [items[at] for at in request])) for request in requests
        ]
        try:
            for request, answer in zip(requests, answers, strict=True):
                outcomes.update(zip(request, answer.result(), strict=True))
        finally:
            for answer in answers:  # where one has failed, what has not begun is not sent
                answer.cancel()
        return [outcomes[position] for position in range(len(items))]

    def new_reports(self) -> list[RequestReport]:
        """Return what has become of requests since this was last called."""
        return self._caller.new_reports()

    def _first(self, items: Sequence[EncodedItem]) -> list[Outcome]:
        return self._ask(_Batch(items, time.monotonic() + self._connection.request_deadline))

    def _ask(self, batch: _Batch) -> list[Outcome]:
        try:
            parsed, version = self._asked(batch)
        except CallFailed as failed:
            return self._after(redacted(failed, self._caller.transport.redact), batch)
        self._has_answered.set()
        return [self._outcome(row, parsed.model_version or version) for row in parsed.rows]

    def _asked(self, batch: _Batch) -> tuple[Parsed, str | None]:
        """Return the answer, and the version that was asked for."""
        version = self._version.current() if self._version else None
        try:
            return self._asked_of(version, batch), version
        except CallFailed as failed:
            other = (
                self._version.after(version) if self._version and version and failed.status == _GONE else None
            )
            if other is None:
                raise
        return self._asked_of(other, batch), other

    def _asked_of(self, version: str | None, batch: _Batch) -> Parsed:
        def read(reply: Reply) -> Parsed:
            return self._wire.parse(reply, len(batch.items), self._outputs)

        request = self._wire.request(batch.items, self._shared, version)
        return self._caller.call(request, batch.deadline, read, is_suspect=batch.is_suspect)

    def _after(self, failed: CallFailed, batch: _Batch) -> list[Outcome]:
        if failed.action is Action.GIVE_UP and not self._has_answered.is_set():
            raise EndpointRefused(f"--endpoint {self._connection.endpoint.address}: {failed}") from None
        if failed.action in (Action.SPLIT, Action.BISECT) and len(batch.items) > 1:
            return [outcome for half in batch.halves(failed) for outcome in self._ask(half)]
        return [error_of(failed) for _ in batch.items]

    def _outcome(self, row: Outputs | ItemError, version: str | None) -> Outcome:
        if isinstance(row, ItemError):
            return redacted(row, self._caller.transport.redact)
        return row if version is None else VersionedOutputs(row, version)

    def _too_large(self, item: EncodedItem) -> RequestTooLarge:
        return RequestTooLarge(
            f"the item takes {item.size:,} bytes of a request, of which there are {max(self._room, 0):,} "
            f"(--max_request_bytes {self._connection.request_bytes:,})"
        )


def error_of(failed: CallFailed) -> RemoteError:
    """Tell what a failed call means for the only item that it was about."""
    kind = _ERRORS[failed.action]
    if failed.action in (Action.SPLIT, Action.BISECT):
        kind = _ERRORS_OF_ANSWERS.get(failed.status, kind)
    return kind(failed.message, failed.attempts)
