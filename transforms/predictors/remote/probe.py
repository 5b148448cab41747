"""An endpoint that is asked at launch: for its metadata, and about one of the job's files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from transforms.errors import ItemError, ModelError, RequestTooLarge
from transforms.predictors.base import InputKind, TensorSpec
from transforms.predictors.feed import Feed
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.remote_predictor import encode, shared_values
from transforms.predictors.remote.wire import (
    Action,
    CallFailed,
    EncodedItem,
    Metadata,
    Reply,
    Request,
    Transport,
    WireFormat,
)
from transforms.records import FileBytes

MAX_REFUSED = 10
"""After so many files that are refused, the endpoint is to blame."""

_TRIES = 3
_SECONDS_BETWEEN_TRIES = 0.5
_SECONDS = 60.0  # a service that is scaled to zero starts meanwhile
_NO_METADATA = ("404", "405", "501")
_NOT_UNDERSTOOD = ("400", "INVALID_ARGUMENT")
_RETRIED = (Action.RETRY, Action.RETRY_THEN_BISECT)
_OF_THE_FILE = (Action.BISECT, Action.SPLIT, Action.RETRY_THEN_BISECT)

Samples = Callable[[InputKind], Iterable[FileBytes | ItemError]]
"""Some of the files that will be predicted on, read when they are needed, as a kind of input needs them."""


@dataclass(frozen=True)
class Tried:
    """What an answer for one file has told.

    Attributes:
        outputs: What the model gives, where it was not known; empty where nothing was tried.
        model_version: Which version has answered; None where the answer does not say.
        unread: Why the first of the files cannot be asked about; empty where there was none, or an answer.
    """

    outputs: tuple[TensorSpec, ...] = ()
    model_version: str | None = None
    unread: str = ""


@dataclass(frozen=True)
class Probe:
    """Asks an endpoint, while a person waits.

    Attributes:
        connection: The endpoint.
        wire: Writes requests and reads answers.
        transport: Carries them.
    """

    connection: Connection
    wire: WireFormat
    transport: Transport

    def metadata(self) -> tuple[Metadata, str]:
        """Return what the server tells of its model; or nothing, and what it says in the place of it.

        Raises:
            ModelError: It refuses, or cannot be reached.
        """
        request = self.wire.metadata_request(self.connection.endpoint.version)
        if request is None:
            return Metadata({}), ""
        try:
            return self.wire.read_metadata(self._ask(request)), ""
        except CallFailed as failed:
            if self.connection.endpoint.protocol == "kserve" and failed.status in _NO_METADATA:
                return Metadata({}), failed.message
            raise self._refused(failed, self._remedy(failed)) from failed

    def check_shared(self, feed: Feed) -> None:
        """See that the protocol has a place for the values of inputs that have no batch dimension.

        Raises:
            ModelError: It has none.
        """
        try:
            self.wire.overhead(shared_values(feed))
        except ValueError as error:
            raise ModelError(f"{self._name}: {error}") from error

    def try_on(
        self,
        samples: Iterable[FileBytes | ItemError],
        feed: Feed,
        outputs: Sequence[TensorSpec],
        version: str | None,
    ) -> Tried:
        """Ask about files, until there is an answer for one.

        Args:
            samples: The files; those that cannot be read, or decoded, are passed over.
            feed: How they become inputs.
            outputs: What the answer must hold; none where it is to tell.
            version: Which version of the model to ask.

        Raises:
            ModelError: It refuses the files, or its answer is not what it must be.
        """
        refusals: list[str] = []
        unread = ""
        for sample in samples:
            prepared = sample if isinstance(sample, ItemError) else feed.prepare([sample])[0]
            if isinstance(sample, ItemError) or isinstance(prepared, ItemError):
                unread = unread or str(prepared)
                continue
            try:
                item = encode(prepared, feed, self.wire)
                return self._answered(self._request(sample, item, feed, version), sample, outputs)
            except ItemError as error:
                refusals.append(str(error))
            except CallFailed as failed:
                if failed.action not in _OF_THE_FILE:
                    raise self._refused(failed) from failed
                refusals.append(failed.message)
            if len(refusals) == MAX_REFUSED:
                break
        if refusals:
            raise ModelError(
                f"{self._name} has no answer for any of the first {len(refusals)} files; for the first: "
                f"{refusals[0]}"
            )
        return Tried(unread=unread)

    def _request(
        self, sample: FileBytes, item: EncodedItem | ItemError, feed: Feed, version: str | None
    ) -> Request:
        if isinstance(item, ItemError):
            raise item
        request = self.wire.request([item], shared_values(feed), version)
        if len(request.body) > self.connection.request_bytes:
            raise RequestTooLarge(
                f"{sample.ref.uri} makes a request of {len(request.body):,} bytes "
                f"(--max_request_bytes {self.connection.request_bytes:,})"
            )
        return request

    def _answered(self, request: Request, sample: FileBytes, outputs: Sequence[TensorSpec]) -> Tried:
        reply = self._ask(request)
        described = () if outputs else tuple(map(_of_any_size, self.wire.describe(reply)))
        parsed = self.wire.parse(reply, 1, outputs or described)
        for row in parsed.rows:
            if isinstance(row, ItemError):
                raise ModelError(
                    f"{self._name}: the answer for {sample.ref.uri} is not what is expected: {row}"
                )
        return Tried(described, parsed.model_version)

    def _ask(self, request: Request) -> Reply:
        """Ask, and again where that may help: a few times, since a person waits."""
        deadline = time.monotonic() + max(_SECONDS, self.connection.policy.request_timeout)
        for tries_left in reversed(range(_TRIES)):
            try:
                return self.transport.call(request, max(deadline - time.monotonic(), 1))
            except CallFailed as failed:
                if failed.action not in _RETRIED or not tries_left or time.monotonic() > deadline:
                    raise
            time.sleep(_SECONDS_BETWEEN_TRIES)
        raise AssertionError("the last try returns or raises")

    def _remedy(self, failed: CallFailed) -> str:
        """Tell what to do where the server does not understand what it is asked for."""
        if failed.status not in _NOT_UNDERSTOOD:
            return ""
        endpoint = self.connection.endpoint
        if endpoint.protocol == "kserve":
            return " (check --endpoint_protocol: that of TensorFlow Serving is tf_serving)"
        if endpoint.label is not None:
            return f" (check the label {endpoint.label} in the address: the server must know it)"
        return " (check the address, the name of the model and --endpoint_protocol)"

    def _refused(self, failed: CallFailed, remedy: str = "") -> ModelError:
        return ModelError(f"{self._name}: {failed.message}{remedy}")

    @property
    def _name(self) -> str:
        return f"--endpoint {self.connection.endpoint.address}"


def _of_any_size(spec: TensorSpec) -> TensorSpec:
    """Forget the sizes of dimensions: those of another answer may be others."""
    return spec if spec.shape is None else replace(spec, shape=(None,) * len(spec.shape))
