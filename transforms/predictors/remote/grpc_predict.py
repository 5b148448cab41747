"""TensorFlow Serving's gRPC: the messages of Predict and GetModelMetadata, without TensorFlow.

Source: `predict.proto`, `model.proto`, `get_model_metadata.proto` and `prediction_service.proto` in
`tensorflow_serving/apis`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import message

from transforms.errors import AnswerInvalid, InstanceRefused, ItemError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.predictors.messages import Messages, message_classes
from transforms.predictors.outputs import as_outputs
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.tensor_protos import (
    TENSOR_MESSAGES,
    Array,
    encode_value,
    field,
    read_tensor,
    tensor_chunks,
    tensor_spec,
)
from transforms.predictors.remote.wire import (
    Action,
    CallFailed,
    EncodedItem,
    Metadata,
    Parsed,
    Reply,
    Request,
)
from transforms.predictors.rows import rows_of
from transforms.predictors.saved_model_files import SIGNATURE_MESSAGES, named_signatures
from transforms.records import Outputs, shown

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
MAX_TENSOR_BYTES = 512 << 20  # 8 times what is read of an answer, where a number may take one byte of eight

_MESSAGES: Messages = {
    "ModelSpec": {
        "name": (1, "string", False),
        "version": (2, ".Version", False),  # or version_label; one of the two
        "signature_name": (3, "string", False),
        "version_label": (4, "string", False),
    },
    "Version": {"value": (1, "int64", False)},
    "Predicted": {"outputs": (1, ".NamedValue", True), "model_spec": (2, ".ModelSpec", False)},
    "NamedValue": {"key": (1, "string", False), "value": (2, ".TensorProto", False)},
    "MetadataRequest": {"model_spec": (1, ".ModelSpec", False), "metadata_field": (2, "string", True)},
    "ModelMetadata": {"model_spec": (1, ".ModelSpec", False), "metadata": (2, ".NamedAny", True)},
    "NamedAny": {"key": (1, "string", False), "value": (2, ".Any", False)},
    "Any": {"type_url": (1, "string", False), "value": (2, "bytes", False)},
    "SignatureDefMap": {"signature_def": (1, ".NamedSignature", True)},
    **TENSOR_MESSAGES,
    **SIGNATURE_MESSAGES,
}
_MODEL_SPEC, _INPUTS, _KEY, _VALUE = 1, 2, 1, 2  # of PredictRequest, and of an entry of a map

_SIGNATURES = "signature_def"
_PARTS = 3  # of each input: its name, and what `encode_value` returns
_EXTRA = 64
"""Bytes of an input beyond these, at most: the numbers and lengths of fields, and the batch's dimension."""

_LONGEST_VERSION = str((1 << 63) - 1)


@dataclass(frozen=True)
class GrpcFormat:
    """Requests and answers of TensorFlow Serving's Predict; see `WireFormat`.

    Attributes:
        endpoint: Names the model, and perhaps its version or its label.
        signature_name: Which of its signatures to call.
        max_tensor_bytes: The most memory that the outputs of an answer may take together.
    """

    endpoint: Endpoint
    signature_name: str
    max_tensor_bytes: int = MAX_TENSOR_BYTES

    @property
    def max_items(self) -> int | None:
        """Any number."""
        return None

    def encode(self, values: Values) -> EncodedItem:
        """See `WireFormat.encode`.

        Raises:
            InstanceRefused: A value is of a type that TensorFlow's messages do not have.
        """
        parts: list[bytes] = []
        shapes = []
        for name in sorted(values):
            try:
                header, payload, shape = encode_value(values[name])
            except ValueError as error:
                raise InstanceRefused(f"the input {name!r} is {error}") from error
            parts += (name.encode(), header, payload)
            shapes.append(shape)
        return EncodedItem(tuple(parts), sum(map(len, parts)) + _EXTRA * len(shapes), tuple(shapes))

    def overhead(self, shared: Tensors) -> int:
        """See `WireFormat.overhead`."""
        specs = (self._model_spec(None), self._model_spec(_LONGEST_VERSION))  # a label may be longer than it
        return max(sum(map(len, self._model_and_shared(shared, spec))) for spec in specs)

    def request(self, items: Sequence[EncodedItem], shared: Tensors, version: str | None) -> Request:
        """See `WireFormat.request`."""
        chunks = self._model_and_shared(shared, self._model_spec(version))
        first = items[0].parts
        for position in range(0, len(first), _PARTS):
            name, header, _ = first[position : position + _PARTS]
            if any(item.parts[position : position + 2] != (name, header) for item in items):
                raise ValueError(f"the values of the input {name.decode()!r} are of several types or shapes")
            payloads = [item.parts[position + 2] for item in items]
            chunks += _input(name, tensor_chunks(header, payloads, len(items)))
        return _request(PREDICT, b"".join(chunks))

    def parse(self, reply: Reply, count: int, outputs: Sequence[TensorSpec]) -> Parsed:
        """See `WireFormat.parse`."""
        answer, tensors = _predicted(reply)
        version = _version(answer)
        try:
            columns = self._read({spec.name: tensors[spec.name] for spec in outputs if spec.name in tensors})
        except ValueError as error:
            return Parsed([AnswerInvalid(str(error)) for _ in range(count)], version)
        for name, column in columns.items():
            _check_batch(name, column.shape, count)
        found = Signature("", (), tuple(spec for spec in outputs if spec.name in columns))
        rows = rows_of(columns, found, count) if columns else [{} for _ in range(count)]
        return Parsed([_checked(row, outputs) for row in rows], version)

    def describe(self, reply: Reply) -> tuple[TensorSpec, ...]:
        """See `WireFormat.describe`."""
        _, tensors = _predicted(reply)
        return tuple(_described(name, tensors[name]) for name in sorted(tensors))

    def metadata_request(self, version: str | None) -> Request | None:
        """See `WireFormat.metadata_request`."""
        spec = self._model_spec(version)
        spec.ClearField("signature_name")
        request = _classes()["MetadataRequest"](model_spec=spec, metadata_field=[_SIGNATURES])
        return _request(GET_METADATA, request.SerializeToString())

    def read_metadata(self, reply: Reply) -> Metadata:
        """See `WireFormat.read_metadata`."""
        answer = _read(reply.body, "ModelMetadata")
        entry = next((entry for entry in answer.metadata if entry.key == _SIGNATURES), None)
        if entry is None:
            raise _give_up("the endpoint does not tell the signatures of its model", reply.body)
        definitions = _read(entry.value.value, "SignatureDefMap")
        return Metadata(named_signatures(definitions.signature_def), _version(answer))

    def _model_spec(self, version: str | None) -> Any:
        spec = _classes()["ModelSpec"](name=self.endpoint.model, signature_name=self.signature_name)
        chosen = version or self.endpoint.version
        if chosen is not None:
            spec.version.SetInParent()  # since version 0 has no other sign
            spec.version.value = int(chosen)
        elif self.endpoint.label is not None:
            spec.version_label = self.endpoint.label
        return spec

    def _model_and_shared(self, shared: Tensors, model_spec: Any) -> list[bytes]:
        chunks = field(_MODEL_SPEC, [model_spec.SerializeToString()])
        for name in sorted(shared):
            header, payload, _ = encode_value(shared[name])
            chunks += _input(name.encode(), tensor_chunks(header, [payload]))
        return chunks

    def _read(self, tensors: Mapping[str, Any]) -> dict[str, Array]:
        columns: dict[str, Array] = {}
        left = self.max_tensor_bytes
        for name, tensor in tensors.items():
            try:
                columns[name] = read_tensor(tensor, left)
            except ValueError as error:
                raise ValueError(f"the output {name!r} is {error}") from error
            left -= columns[name].nbytes
        return columns


def _request(method: str, body: bytes) -> Request:
    return Request(method, body, content_type="application/grpc")


def _input(name: bytes, tensor: Sequence[bytes]) -> list[bytes]:
    return field(_INPUTS, [*field(_KEY, [name]), *field(_VALUE, tensor)])


def _predicted(reply: Reply) -> tuple[Any, dict[str, Any]]:
    answer = _read(reply.body, "Predicted")
    tensors = {entry.key: entry.value for entry in answer.outputs}
    if not tensors:
        raise _give_up("the endpoint's answer has no outputs", reply.body)
    return answer, tensors


def _read(body: bytes, name: str) -> Any:
    try:
        return _classes()[name].FromString(body)
    except message.DecodeError as error:
        raise _give_up("the endpoint's answer is not one of TensorFlow Serving's", body) from error


def _give_up(problem: str, body: bytes) -> CallFailed:
    return CallFailed(f"{problem}: {shown(body[:100])}", action=Action.GIVE_UP, status="answer")


def _check_batch(name: str, shape: tuple[int, ...], count: int) -> None:
    if shape[:1] != (count,):
        raise CallFailed(
            f"the output {name!r} of the endpoint's answer to {count} items is of the shape "
            f"{shown(list(shape))}; its first dimension must be the batch's",
            action=Action.BISECT,
            status="answer",
        )


def _checked(row: Outputs, outputs: Sequence[TensorSpec]) -> Outputs | ItemError:
    try:
        return as_outputs(row, outputs)
    except ValueError as error:
        return AnswerInvalid(f"the endpoint's answer: {error}")


def _described(name: str, tensor: Any) -> TensorSpec:
    try:
        dtype, shape = tensor_spec(tensor)
    except ValueError as error:
        raise CallFailed(f"the output {name!r} is {error}", action=Action.GIVE_UP, status="answer") from error
    _check_batch(name, shape, 1)
    return TensorSpec(name, dtype, (None, *shape[1:]))


def _version(answer: Any) -> str | None:
    spec = answer.model_spec
    return str(spec.version.value) if spec.HasField("version") else None


@functools.cache
def _classes() -> dict[str, Any]:
    return message_classes(_MESSAGES)
