"""TensorFlow Serving's gRPC: a server in this process, made from its own messages.

It checks requests in the order, and refuses them in the words, of TensorFlow Serving: `server_core.cc`,
`basic_manager.cc`, `predict_util.cc` and `get_model_metadata_impl.cc` in github.com/tensorflow/serving.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from emulators.certificates import Certificate
from emulators.tf_serving_messages import Model, Refused, computed, signature_defs, tensor_proto

from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2  # isort: skip  # after TensorFlow

SERVICE = "tensorflow.serving.PredictionService"
MAX_MESSAGE_BYTES = 4 << 20
"""What servers of gRPC take unless they are told to take more."""

Fault = Callable[[grpc.ServicerContext], bytes | None]
"""What happens to a call before it is looked at: it may be ended, kept waiting, or answered anyhow."""


@dataclass(frozen=True)
class Received:
    """A call that has come.

    Attributes:
        method: `Predict` or `GetModelMetadata`.
        request: The message; None where `TfServing.keeps` is off.
        size: Its bytes.
        metadata: What came along, by name.
        seconds_left: Until its deadline; None where it has none.
    """

    method: str
    request: Any
    size: int
    metadata: Mapping[str, str]
    seconds_left: float | None


class TfServing:
    """A server that runs; its attributes may be changed meanwhile.

    Attributes:
        address: `127.0.0.1:PORT`.
        models: By name and version.
        labels: The versions that they stand for, by model and label.
        faults: What happens to the next calls; None for nothing.
        fault: What happens to any other call.
        as_content: Whether numbers are answered as bytes, as with `--enable_serialization_as_tensor_content`.
        keeps: Whether the requests are kept.
        received: The calls that have come.
    """

    def __init__(self, models: Mapping[str, Mapping[int, Model]]) -> None:
        self.address = ""
        self.models = {name: dict(versions) for name, versions in models.items()}
        self.labels: dict[str, dict[str, int]] = {}
        self.faults: list[Fault | None] = []
        self.fault: Fault | None = None
        self.as_content = False
        self.keeps = True
        self.received: list[Received] = []
        self._lock = threading.Lock()

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the methods of the service, by name."""
        requests = {
            "Predict": (self._predict, predict_pb2.PredictRequest),
            "GetModelMetadata": (self._metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        }
        return {name: self._handler(name, *request) for name, request in requests.items()}

    def _handler(self, name: str, answer: Callable[[Any], Any], kind: Any) -> grpc.RpcMethodHandler:
        def handle(request: Any, context: grpc.ServicerContext) -> bytes:
            fault = self._receive(name, request, context)
            try:
                body = fault(context) if fault else None
                return answer(request).SerializeToString() if body is None else body
            except Refused as refused:
                context.abort(grpc.StatusCode[refused.code], refused.details)
                raise AssertionError("abort() raises") from refused

        return grpc.unary_unary_rpc_method_handler(handle, kind.FromString)

    def _receive(self, method: str, request: Any, context: grpc.ServicerContext) -> Fault | None:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        kept = request if self.keeps else None
        received = Received(method, kept, request.ByteSize(), metadata, context.time_remaining())
        with self._lock:
            self.received.append(received)
            return self.faults.pop(0) if self.faults else self.fault

    def _predict(self, request: Any) -> Any:
        version, model = self._model(request)
        name, outputs = computed(request, model)
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = request.model_spec.name, name
        response.model_spec.version.value = version
        for key, array in outputs.items():
            response.outputs[key].CopyFrom(tensor_proto(array, self.as_content))
        return response

    def _metadata(self, request: Any) -> Any:
        if not request.metadata_field:
            text = "GetModelMetadataRequest must specify at least one metadata_field"
            raise Refused("INVALID_ARGUMENT", text)
        for field in request.metadata_field:
            if field != "signature_def":
                raise Refused("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        version, model = self._model(request)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = request.model_spec.name, version
        response.metadata["signature_def"].Pack(signature_defs(model))
        return response

    def _model(self, request: Any) -> tuple[int, Model]:
        spec = request.model_spec
        if not request.HasField("model_spec"):
            raise Refused("INVALID_ARGUMENT", "Missing ModelSpec")
        if not spec.name:
            raise Refused("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        versions = self.models.get(spec.name, {})
        chosen = spec.version.value if spec.HasField("version") else max(versions, default=-1)
        if spec.version_label:
            chosen = self._labelled(spec.name, spec.version_label)
        if chosen not in versions:
            is_latest = spec.WhichOneof("version_choice") is None
            wanted = f"Latest({spec.name})" if is_latest else f"Specific({spec.name}, {chosen})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {wanted}")
        return chosen, versions[chosen]

    def _labelled(self, model: str, label: str) -> int:
        version = self.labels.get(model, {}).get(label)
        if version is None:
            raise Refused("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        return version


@contextlib.contextmanager
def tf_serving(
    models: Mapping[str, Mapping[int, Model]],
    *,
    port: int = 0,
    certificate: Certificate | None = None,
    threads: int = 32,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Iterator[TfServing]:
    """Run a server until the end of the context.

    Args:
        models: By name and version, see `tf_serving_messages`.
        port: Of 127.0.0.1; 0 for a free one.
        certificate: For TLS; None for none.
        threads: How many calls are answered at the same time.
        max_message_bytes: The most that a request may take.
    """
    serving = TfServing(models)
    options = (("grpc.max_receive_message_length", max_message_bytes), ("grpc.so_reuseport", 0))
    server = grpc.server(ThreadPoolExecutor(threads), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, serving.handlers())])
    wanted = f"127.0.0.1:{port}"
    if certificate is None:
        bound = server.add_insecure_port(wanted)
    else:
        pair = (certificate.key, certificate.certificate)
        bound = server.add_secure_port(wanted, grpc.ssl_server_credentials([pair]))
    serving.address = f"127.0.0.1:{bound}"
    server.start()
    try:
        yield serving
    finally:
        server.stop(grace=None).wait()


def refuse(code: str, details: str = "", **trailing: str) -> Fault:
    """End a call with a status, and with metadata whose names have hyphens for underscores."""

    def end(context: grpc.ServicerContext) -> None:
        metadata = tuple((name.replace("_", "-"), value) for name, value in trailing.items())
        context.set_trailing_metadata(metadata)
        raise Refused(code, details)

    return end


def wait_for(gate: threading.Event) -> Fault:
    """Keep a call waiting until a gate opens, or until nobody waits for its answer any more."""

    def wait(context: grpc.ServicerContext) -> None:
        gone = threading.Event()
        context.add_callback(gone.set)
        while not gate.wait(0.01) and not gone.is_set():
            pass

    return wait


def answer(body: bytes) -> Fault:
    """Answer with bytes."""
    return lambda context: body


def act(action: Callable[[], object]) -> Fault:
    """Do something first, such as cutting the connection."""

    def then_go_on(context: grpc.ServicerContext) -> None:
        action()

    return then_go_on
