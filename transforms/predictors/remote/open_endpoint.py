"""From an endpoint's address to a predictor: what the endpoint takes and gives is found out at launch.

In this order: what the user says of it; what the server tells of its model; and where neither tells the
outputs, what it answers for one of the files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from transforms.errors import ItemError, ModelError
from transforms.predictors.base import InputKind, Signature, TensorSpec
from transforms.predictors.choose_feed import Wishes, choose_feed
from transforms.predictors.feed import Feed
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.remote_predictor import RemotePredictor, encode, shared_values
from transforms.predictors.remote.schema_text import EXAMPLE, INPUT_EXAMPLE
from transforms.predictors.remote.wire import (
    Action,
    CallFailed,
    Metadata,
    Reply,
    Request,
    Transport,
    WireFormat,
)
from transforms.predictors.saved_model import DEFAULT_SIGNATURE
from transforms.records import FileBytes

UNKNOWN_VERSION = "unknown"
"""The version of a model of which the server tells none."""

_TRIES = 3
_SECONDS_BETWEEN_TRIES = 0.5
_SECONDS = 60.0  # a service that is scaled to zero starts meanwhile
_NO_METADATA = ("404", "405", "501")

Samples = Callable[[InputKind], Iterable[FileBytes | ItemError]]
"""Some of the files that will be predicted on, read when they are needed, as a kind of input needs them."""


@dataclass(frozen=True)
class Told:
    """What the user says of the model, where the server does not.

    Attributes:
        inputs: What it takes; None for what the server tells, or else one input of the kind that is wished.
        outputs: What it gives; None for what the server tells or answers.
    """

    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None


def open_endpoint(
    connection: Connection,
    signature: str = DEFAULT_SIGNATURE,
    wishes: Wishes | None = None,
    told: Told | None = None,
    *,
    samples: Samples = lambda kind: (),
    poll_seconds: float = 0,
) -> RemotePredictor:
    """Make a predictor that asks an endpoint; it is asked now, for its metadata or for a prediction.

    Args:
        connection: The endpoint, and how to talk to it.
        signature: Which of the model's signatures to call.
        wishes: What the signature does not tell of how it is fed.
        told: What the server does not tell of the model.
        samples: Files to ask about, where the server tells nothing of its model.
        poll_seconds: How often a worker looks for a newer version, where requests name their version.

    Raises:
        ModelError: The endpoint cannot be reached, refuses, lacks the signature, or cannot be fed; or nothing
            tells what it gives.
    """
    wishes, told = wishes or Wishes(), told or Told()
    wire = connection.wire(signature, wishes.item_input)
    transport = connection.transport()
    try:
        asked = _Asked(connection, wire, transport)
        metadata = asked.metadata()
        served = _served(metadata, signature, connection.endpoint.address)
        inputs = told.inputs or (served.inputs if served else (_only_input(connection, wishes),))
        known = Signature(signature, inputs, told.outputs or (served.outputs if served else ()))
        feed = choose_feed(known, wishes)
        tried = Tried() if served else asked.try_on(samples(feed.kind), feed, told.outputs)
    finally:
        transport.close()
    outputs = known.outputs or tried.outputs
    if not outputs:
        raise ModelError(
            f"--endpoint {connection.endpoint.address} does not tell what it gives, and there is no file to "
            f"ask it about: pass --output_schema, such as --output_schema {EXAMPLE}"
        )
    return RemotePredictor(
        connection=connection,
        wire=wire,
        signature=replace(known, outputs=outputs),
        feed=choose_feed(replace(known, outputs=outputs), wishes),
        model_version=_version(connection, metadata, tried),
        asks_for_version=connection.endpoint.protocol == "tf_serving" and _is_told(connection, metadata),
        poll_seconds=poll_seconds,
    )


@dataclass(frozen=True)
class Tried:
    """What an answer for one file has told.

    Attributes:
        outputs: What the model gives; empty where nothing was tried.
        model_version: Which version has answered; None where the answer does not say.
    """

    outputs: tuple[TensorSpec, ...] = ()
    model_version: str | None = None


@dataclass(frozen=True)
class _Asked:
    """An endpoint that is asked from the launching machine, where a person waits."""

    connection: Connection
    wire: WireFormat
    transport: Transport

    def metadata(self) -> Metadata:
        """Return what the server tells of its model; nothing where it has no way to tell."""
        request = self.wire.metadata_request(self.connection.endpoint.version)
        if request is None:
            return Metadata({})
        try:
            return self.wire.read_metadata(self._ask(request))
        except CallFailed as failed:
            if self.connection.endpoint.protocol == "kserve" and failed.status in _NO_METADATA:
                return Metadata({})
            raise self._refused(failed) from failed

    def try_on(
        self, samples: Iterable[FileBytes | ItemError], feed: Feed, outputs: Sequence[TensorSpec] | None
    ) -> Tried:
        """Ask about files, until there is an answer for one."""
        refusals = []
        for sample in samples:
            try:
                return self._tried(sample, feed, outputs)
            except ItemError as error:
                refusals.append(str(error))
            except CallFailed as failed:
                if failed.action is not Action.BISECT:
                    raise self._refused(failed) from failed
                refusals.append(failed.message)
        if refusals:
            raise ModelError(
                f"{self._name} has no answer for any of the first {len(refusals)} files; for the first: "
                f"{refusals[0]}"
            )
        return Tried()

    def _tried(
        self, sample: FileBytes | ItemError, feed: Feed, outputs: Sequence[TensorSpec] | None
    ) -> Tried:
        if isinstance(sample, ItemError):
            raise sample
        (prepared,) = feed.prepare([sample])
        item = encode(prepared, feed, self.wire)
        if isinstance(item, ItemError):
            raise item
        reply = self._ask(self.wire.request([item], shared_values(feed), self.connection.endpoint.version))
        described = tuple(map(_of_any_size, self.wire.describe(reply)))
        parsed = self.wire.parse(reply, 1, outputs or described)
        for row in parsed.rows:
            if isinstance(row, ItemError):
                raise ModelError(
                    f"{self._name}: the answer for {sample.ref.uri} is not what is expected: {row}"
                )
        return Tried(described, parsed.model_version)

    def _ask(self, request: Request) -> Reply:
        """Ask, and again where that may help: a few times, since a person waits."""
        deadline = time.monotonic() + _SECONDS
        for tries_left in reversed(range(_TRIES)):
            try:
                return self.transport.call(request, max(deadline - time.monotonic(), 1))
            except CallFailed as failed:
                if failed.action is not Action.RETRY or not tries_left or time.monotonic() > deadline:
                    raise
            time.sleep(_SECONDS_BETWEEN_TRIES)
        raise AssertionError("the last try returns or raises")

    def _refused(self, failed: CallFailed) -> ModelError:
        return ModelError(f"{self._name}: {failed.message}")

    @property
    def _name(self) -> str:
        return f"--endpoint {self.connection.endpoint.address}"


def _served(metadata: Metadata, signature: str, address: str) -> Signature | None:
    """Return the signature that the server tells of; None where it tells of none."""
    if not metadata.signatures:
        return None
    nameless = metadata.signatures.get("")
    found = replace(nameless, name=signature) if nameless else metadata.signatures.get(signature)
    if found is None:
        names = ", ".join(sorted(metadata.signatures))
        raise ModelError(f"--signature {signature}: the model at {address} has {names}")
    return found


def _only_input(connection: Connection, wishes: Wishes) -> TensorSpec:
    """Return the input of a model that nothing tells the inputs of."""
    if wishes.kind is None:
        raise ModelError(
            f"--endpoint {connection.endpoint.address} does not tell what it takes: pass --input_kind bytes "
            "(or names, images, arrays), and --item_input where instances are objects with that key; or "
            f"--input_schema, such as --input_schema {INPUT_EXAMPLE}"
        )
    dtype = "string" if wishes.kind in ("names", "bytes") else "float32"
    shape = (None, None, None, None) if wishes.kind == "images" else None
    return TensorSpec(wishes.item_input or "", dtype, (None,) if dtype == "string" else shape)


def _of_any_size(spec: TensorSpec) -> TensorSpec:
    """Forget the sizes of dimensions: those of another answer may be others."""
    return spec if spec.shape is None else replace(spec, shape=(None,) * len(spec.shape))


def _is_told(connection: Connection, metadata: Metadata) -> bool:
    return connection.endpoint.version is None and metadata.model_version is not None


def _version(connection: Connection, metadata: Metadata, tried: Tried) -> str:
    told = (connection.endpoint.version, metadata.model_version, tried.model_version)
    return next((version for version in told if version is not None), UNKNOWN_VERSION)
