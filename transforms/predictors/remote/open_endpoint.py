"""From an endpoint's address to a predictor: what the endpoint takes and gives is found out at launch.

In this order: what the user says of it; what the server tells of its model; and what it answers for one of
the files, which tells the outputs where nothing else does, and must fit them elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transforms.errors import ModelError, OutputsUnknown
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.choose_feed import Wishes, choose_feed
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.probe import Probe, Samples, Tried
from transforms.predictors.remote.redaction import redacted
from transforms.predictors.remote.remote_predictor import RemotePredictor
from transforms.predictors.remote.schema_text import EXAMPLE, INPUT_EXAMPLE
from transforms.predictors.remote.wire import Metadata
from transforms.predictors.saved_model import DEFAULT_SIGNATURE

UNKNOWN_VERSION = "unknown"
"""The version of a model of which the server tells none."""


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
    signature: str | None = None,
    wishes: Wishes | None = None,
    told: Told | None = None,
    *,
    samples: Samples = lambda kind: (),
    poll_seconds: float = 0,
) -> RemotePredictor:
    """Make a predictor that asks an endpoint; it is asked now, for its metadata and for a prediction.

    Args:
        connection: The endpoint, and how to talk to it.
        signature: Which of the model's signatures to call; None for the only one of a server that has one and
            tells its name, and else for `serving_default`.
        wishes: What the signature does not tell of how it is fed.
        told: What the server does not tell of the model.
        samples: Files to ask about, until one is answered; with none of them, nothing is tried.
        poll_seconds: How often a worker looks for a newer version, where requests name their version.

    Raises:
        ModelError: The endpoint cannot be reached, refuses, lacks the signature, or cannot be fed; or its
            answer is not what the server or the user tells.
        OutputsUnknown: Nothing tells what it gives.
    """
    wishes, told = wishes or Wishes(), told or Told()
    endpoint = connection.endpoint
    wire = connection.wire(signature or DEFAULT_SIGNATURE, wishes.item_input)
    transport = connection.transport()
    try:
        probe = Probe(connection, wire, transport)
        metadata, silence = probe.metadata()
        served = _served(metadata, signature, endpoint)
        _check_told(told, served)
        inputs = told.inputs or (served.inputs if served else (_only_input(endpoint, wishes, silence),))
        name = served.name if served else signature or DEFAULT_SIGNATURE
        known = Signature(name, inputs, told.outputs or (served.outputs if served else ()))
        feed = choose_feed(known, wishes)
        probe.check_shared(feed)
        asks_for_version = endpoint.protocol == "tf_serving" and _is_told(connection, metadata)
        version = metadata.model_version if asks_for_version else endpoint.version
        tried = probe.try_on(samples(feed.kind), feed, known.outputs, version)
    except ModelError as error:
        raise redacted(error, transport.redact) from None
    finally:
        transport.close()
    outputs = known.outputs or tried.outputs
    if not outputs:
        raise _unknown(endpoint, tried)
    return RemotePredictor(
        connection=connection,
        wire=wire,
        signature=replace(known, outputs=outputs),
        feed=choose_feed(replace(known, outputs=outputs), wishes),
        model_version=_version(connection, metadata, tried),
        asks_for_version=asks_for_version,
        served=served,
        poll_seconds=poll_seconds,
    )


def _served(metadata: Metadata, signature: str | None, endpoint: Endpoint) -> Signature | None:
    """Return the signature that the server tells of; None where it tells of none."""
    if not metadata.signatures:
        return None
    is_only = signature is None and endpoint.protocol == "kserve"  # which is never asked for another
    wanted = next(iter(metadata.signatures)) if is_only else signature or DEFAULT_SIGNATURE
    found = metadata.signatures.get(wanted) or metadata.signatures.get("")
    if found is None:
        names = ", ".join(sorted(metadata.signatures))
        raise ModelError(f"--signature {wanted}: the model at {endpoint.address} has {names}")
    return replace(found, name=found.name or wanted or DEFAULT_SIGNATURE)


def _check_told(told: Told, served: Signature | None) -> None:
    """See that what the user says of the model does not contradict what the server tells."""
    if served is None:
        return
    for flag, specs, there in (
        ("--input_schema", told.inputs, served.inputs),
        ("--output_schema", told.outputs, served.outputs),
    ):
        unknown = sorted({spec.name for spec in specs or ()} - {spec.name for spec in there})
        if unknown:
            raise ModelError(
                f"{flag}: signature {served} has no {unknown[0]!r}; leave the flag out where it tells all"
            )


def _only_input(endpoint: Endpoint, wishes: Wishes, silence: str) -> TensorSpec:
    """Return the input of a model that nothing tells the inputs of."""
    if wishes.kind is None:
        instead = f": {silence}. If it is TensorFlow Serving, pass --endpoint_protocol tf_serving; else"
        raise ModelError(
            f"--endpoint {endpoint.address} does not tell what it takes{instead if silence else ':'} pass "
            "--input_kind bytes (or names, images, arrays), and --item_input where instances are objects "
            f"with that key; or --input_schema, such as --input_schema {INPUT_EXAMPLE}"
        )
    dtype = "string" if wishes.kind in ("names", "bytes") else "float32"
    shape = (None, None, None, None) if wishes.kind == "images" else None
    return TensorSpec(wishes.item_input or "", dtype, (None,) if dtype == "string" else shape)


def _unknown(endpoint: Endpoint, tried: Tried) -> OutputsUnknown:
    none = f"the files cannot be read to ask it about one ({tried.unread})" if tried.unread else ""
    return OutputsUnknown(
        f"--endpoint {endpoint.address} does not tell what it gives, and "
        f"{none or 'there is no file to ask it about'}: pass --output_schema, such as "
        f"--output_schema {EXAMPLE}"
    )


def _is_told(connection: Connection, metadata: Metadata) -> bool:
    return connection.endpoint.version is None and metadata.model_version is not None


def _version(connection: Connection, metadata: Metadata, tried: Tried) -> str:
    told = (connection.endpoint.version, metadata.model_version, tried.model_version)
    return next((version for version in told if version is not None), UNKNOWN_VERSION)
