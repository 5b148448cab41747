"""A model that is served elsewhere, as a predictor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from transforms.errors import ItemError
from transforms.predictors.base import InputKind, Outcome, Signature
from transforms.predictors.feed import Feed, Values
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.caller import Caller
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.redaction import redacted
from transforms.predictors.remote.request_report import RequestReport
from transforms.predictors.remote.served_version import ServedVersion
from transforms.predictors.remote.session import Session
from transforms.predictors.remote.wire import CallFailed, EncodedItem, Metadata, WireFormat
from transforms.records import FileBytes

_METADATA_SECONDS = 30.0


@dataclass
class RemotePredictor:
    """Predict by asking an endpoint; made by `open_endpoint`.

    Attributes:
        connection: The endpoint, and how it is talked to.
        wire: Writes requests and reads answers.
        signature: The signature that is called.
        feed: How items become its inputs.
        model_version: Which version answered at launch.
        asks_for_version: Whether each request names the version that it wants.
        poll_seconds: How often to look for a newer one then; 0 for only when it is gone.
        served: The signature as the server tells it, which a newer version must have too; None where it does
            not tell, or where it is `signature`.
    """

    connection: Connection
    wire: WireFormat
    signature: Signature
    feed: Feed
    model_version: str
    asks_for_version: bool = False
    poll_seconds: float = 0
    served: Signature | None = None
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def model(self) -> str:
        """The endpoint's address."""
        return self.connection.endpoint.address

    @property
    def input_kind(self) -> InputKind:
        """What the signature is fed with."""
        return self.feed.kind

    def load(self) -> None:
        """Make ready to connect.

        Raises:
            ModelError: The credentials cannot be had on this machine.
        """
        caller = Caller(self.connection.transport(), self.connection.policy)
        shared = shared_values(self.feed)
        self._session = Session(
            self.connection,
            self.wire,
            caller,
            self.signature.outputs,
            version=self._served_version(caller) if self.asks_for_version else None,
            shared=shared,
        )

    def warm_up(self, batch_size: int) -> None:
        """Do nothing: the server is warm, or warms up with the first batches."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `Predictor.predict`; the requests of one batch go out at the same time.

        Raises:
            EndpointRefused: The endpoint has answered nothing yet, and refuses this for a reason that has
                nothing to do with the items.
        """
        if self._session is None:
            raise RuntimeError("load() was not called")
        encoded = [encode(values, self.feed, self.wire) for values in self.feed.prepare(batch)]
        answers = iter(self._session.predict([item for item in encoded if isinstance(item, EncodedItem)]))
        return [next(answers) if isinstance(item, EncodedItem) else item for item in encoded]

    def new_reports(self) -> list[RequestReport]:
        """Return what has become of requests since this was last called."""
        return [] if self._session is None else self._session.new_reports()

    def __copy__(self) -> RemotePredictor:
        """Copy all but the connections."""
        return replace(self)

    def _served_version(self, caller: Caller) -> ServedVersion:
        def ask() -> Metadata:
            request = self.wire.metadata_request(None)
            assert request is not None  # noqa: S101 - else no version could have been asked for
            try:
                return caller.call(request, time.monotonic() + _METADATA_SECONDS, self.wire.read_metadata)
            except CallFailed as failed:
                raise redacted(failed, caller.transport.redact) from None

        signature = self.served or self.signature
        return ServedVersion(self.model_version, signature, ask, caller.tally, poll_seconds=self.poll_seconds)


def encode(values: Values | ItemError, feed: Feed, wire: WireFormat) -> EncodedItem | ItemError:
    """Encode one item with the constants that go with each, or tell why that cannot be."""
    if isinstance(values, ItemError):
        return values
    constants = {
        constant.spec.name: constant.value for constant in feed.constants if constant.spec.shape != ()
    }
    try:
        return wire.encode({**values, **constants})
    except ItemError as error:
        return error


def shared_values(feed: Feed) -> Tensors:
    """Return the values of the inputs that have no batch dimension."""
    return {constant.spec.name: constant.value for constant in feed.constants if constant.spec.shape == ()}
