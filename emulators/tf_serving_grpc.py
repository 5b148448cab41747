"""TensorFlow Serving's gRPC: a server made from its own messages, in this process, on a free port of 127.0.0.1.

It checks requests in the order, and refuses them in the words, of TensorFlow Serving: `server_core.cc`,
`basic_manager.cc`, `predict_util.cc` and `get_model_metadata_impl.cc` in github.com/tensorflow/serving.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import numpy as np

from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.functions import Function, Tensors
from transforms.predictors.saved_model import DEFAULT_SIGNATURE, SavedModelFunction
from transforms.predictors.saved_model_files import read_signatures
from transforms.predictors.tensorflow_runtime import import_tensorflow

tf = import_tensorflow()  # quietly, and before what imports it as well

from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2  # noqa: E402

SERVICE = "tensorflow.serving.PredictionService"
MAX_MESSAGE_BYTES = 4 << 20
"""What servers of gRPC take unless they are told to take more."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_FIELDS = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32"), "int_val"),
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),
    **{"float32": "float_val", "float64": "double_val", "object": "string_val", "complex64": "scomplex_val"},
    **{name: f"{name}_val" for name in ("bool", "int64", "uint32", "uint64")},
}


@dataclass(frozen=True)
class Served:
    """A signature, and what computes its outputs."""

    signature: Signature
    compute: Callable[[Tensors], Tensors]


Model = Mapping[str, Served]
"""The signatures of one version of a model."""

Fault = Callable[[grpc.ServicerContext], bytes | None]
"""What happens to a call before it is looked at: it may be ended, or kept waiting, or be answered as it should not."""


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
        self.models: MutableMapping[str, dict[int, Model]] = {
            name: dict(versions) for name, versions in models.items()
        }
        self.labels: dict[str, dict[str, int]] = {}
        self.faults: list[Fault | None] = []
        self.fault: Fault | None = None
        self.as_content = False
        self.keeps = True
        self.received: list[Received] = []
        self._lock = threading.Lock()

    @property
    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """The methods of the service."""
        methods = {
            "Predict": (self._predict, predict_pb2.PredictRequest),
            "GetModelMetadata": (self._metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        }
        return {name: self._handler(name, *method) for name, method in methods.items()}

    def _handler(self, name: str, answer: Callable[..., Any], kind: Any) -> grpc.RpcMethodHandler:
        def handle(request: Any, context: grpc.ServicerContext) -> bytes:
            fault = self._receive(name, request, context)
            made = fault(context) if fault else None
            return answer(request, context).SerializeToString() if made is None else made

        return grpc.unary_unary_rpc_method_handler(handle, kind.FromString)

    def _receive(self, method: str, request: Any, context: grpc.ServicerContext) -> Fault | None:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        kept = request if self.keeps else None
        received = Received(method, kept, request.ByteSize(), metadata, context.time_remaining())
        with self._lock:
            self.received.append(received)
            return self.faults.pop(0) if self.faults else self.fault

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        version, model = self._model(request, context)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in model:
            _refuse(context, "FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        served = model[name]
        outputs = _computed(served, _inputs(request, served.signature, context), context)
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = request.model_spec.name, name
        response.model_spec.version.value = version
        for key, array in outputs.items():
            response.outputs[key].CopyFrom(tensor_proto(array, self.as_content))
        return response

    def _metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not request.metadata_field:
            text = "GetModelMetadataRequest must specify at least one metadata_field"
            _refuse(context, "INVALID_ARGUMENT", text)
        for field in request.metadata_field:
            if field != "signature_def":
                _refuse(context, "INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        version, model = self._model(request, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = request.model_spec.name, version
        response.metadata["signature_def"].Pack(_signature_defs(model))
        return response

    def _model(self, request: Any, context: grpc.ServicerContext) -> tuple[int, Model]:
        if not request.HasField("model_spec"):
            _refuse(context, "INVALID_ARGUMENT", "Missing ModelSpec")
        spec = request.model_spec
        if not spec.name:
            _refuse(context, "INVALID_ARGUMENT", "ModelSpec has no name specified.")
        versions = self.models.get(spec.name, {})
        chosen = spec.version.value if spec.HasField("version") else max(versions, default=None)
        if spec.version_label:
            chosen = self.labels.get(spec.name, {}).get(spec.version_label)
            if chosen is None:
                text = f"Unrecognized servable version label: {spec.version_label}"
                _refuse(context, "INVALID_ARGUMENT", text)
        if chosen not in versions:
            is_latest = spec.WhichOneof("version_choice") is None
            wanted = f"Latest({spec.name})" if is_latest else f"Specific({spec.name}, {chosen})"
            _refuse(context, "NOT_FOUND", f"Servable not found for request: {wanted}")
        return chosen, versions[chosen]


@contextlib.contextmanager
def tf_serving(
    models: Mapping[str, Mapping[int, Model]],
    *,
    port: int = 0,
    certificate: tuple[bytes, bytes] | None = None,
    threads: int = 32,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Iterator[TfServing]:
    """Run a server until the end of the context.

    Args:
        models: By name and version, see `of_functions` and `of_saved_model`.
        port: Of 127.0.0.1; 0 for a free one.
        certificate: A private key and its certificates, as PEM, for TLS.
        threads: How many calls are answered at the same time.
        max_message_bytes: The most that a request may take.
    """
    serving = TfServing(models)
    options = (("grpc.max_receive_message_length", max_message_bytes), ("grpc.so_reuseport", 0))
    server = grpc.server(ThreadPoolExecutor(threads), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, serving.handlers)])
    wanted = f"127.0.0.1:{port}"
    if certificate is None:
        bound = server.add_insecure_port(wanted)
    else:
        bound = server.add_secure_port(wanted, grpc.ssl_server_credentials([certificate]))
    serving.address = f"127.0.0.1:{bound}"
    server.start()
    try:
        yield serving
    finally:
        server.stop(grace=None).wait()


def of_functions(*functions: Function) -> Model:
    """Serve functions that are loaded."""
    return {function.signature.name: Served(function.signature, function.call) for function in functions}


def of_saved_model(folder: str, *names: str) -> Model:
    """Load signatures of a SavedModel, all where none is named, and serve them."""
    functions = [SavedModelFunction(folder, name) for name in names or read_signatures(folder)]
    for function in functions:
        function.load()
    return of_functions(*functions)


def refuse(code: str, details: str = "", **trailing: str) -> Fault:
    """End a call with a status, and with metadata whose names have hyphens for underscores."""

    def refuse(context: grpc.ServicerContext) -> None:
        metadata = tuple((name.replace("_", "-"), value) for name, value in trailing.items())
        context.set_trailing_metadata(metadata)
        _refuse(context, code, details)

    return refuse


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


def tensor_proto(array: Any, as_content: bool = False) -> Any:
    """Make a `TensorProto` of an array: with a value for each number, or with its bytes."""
    array = np.asarray(array)
    kind = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    if as_content and kind != tf.string:
        return (
            tf.make_tensor_proto(array, kind, array.shape) if array.size > 1 else _with_content(array, kind)
        )
    proto = _empty(array, kind)
    flat = array.ravel()
    if _FIELDS[array.dtype.name] == "half_val":
        flat = flat.view(np.uint16)
    if array.dtype.kind == "c":
        flat = flat.view(np.float32)
    values = [value.encode() if isinstance(value, str) else value for value in flat.tolist()]
    getattr(proto, _FIELDS[array.dtype.name]).extend(values)
    return proto


def _with_content(array: Any, kind: Any) -> Any:
    proto = _empty(array, kind)
    proto.tensor_content = array.tobytes()
    return proto


def _empty(array: Any, kind: Any) -> Any:
    shape = tf.TensorShape(array.shape).as_proto()
    return type(tf.make_tensor_proto(0))(dtype=kind.as_datatype_enum, tensor_shape=shape)


def _inputs(request: Any, signature: Signature, context: grpc.ServicerContext) -> Tensors:
    wanted = {spec.name: spec for spec in signature.inputs}
    _check_names(sorted(request.inputs), sorted(wanted), context)
    arrays = {}
    for name, proto in request.inputs.items():
        try:
            arrays[name] = tf.make_ndarray(proto)
        except (TypeError, ValueError):
            _refuse(context, "INVALID_ARGUMENT", f"tensor parsing error: {name}")
        _check(name, arrays[name], proto, wanted[name], context)
    return arrays


def _check_names(sent: Sequence[str], wanted: Sequence[str], context: grpc.ServicerContext) -> None:
    if len(sent) != len(wanted):
        extra, missing = set(sent) - set(wanted), set(wanted) - set(sent)
        text = (
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{','.join(sent)}}}) != "
            f"len({{{','.join(wanted)}}}). Sent extra: {{{','.join(sorted(extra))}}}. "
            f"Missing but required: {{{','.join(sorted(missing))}}}."
        )
        _refuse(context, "INVALID_ARGUMENT", text)
    for name in sent:
        if name not in wanted:
            text = f"input tensor alias not found in signature: {name}. Inputs expected to be in the set "
            _refuse(context, "INVALID_ARGUMENT", f"{text}{{{','.join(wanted)}}}.")


def _check(name: str, array: Any, proto: Any, spec: TensorSpec, context: grpc.ServicerContext) -> None:
    dtype = tf.as_dtype(proto.dtype).name
    if dtype != spec.dtype:
        _refuse(context, "INVALID_ARGUMENT", f"Expects {name} to be {spec.dtype} but {dtype} is provided")
    if not spec.accepts(array.shape):
        text = f"{name}: the shape {list(array.shape)} is incompatible with {spec}"
        _refuse(context, "INVALID_ARGUMENT", text)


def _computed(served: Served, inputs: Tensors, context: grpc.ServicerContext) -> Tensors:
    try:
        return served.compute(inputs)
    except tf.errors.OpError as error:  # its codes are gRPC's
        _refuse(context, _CODES[error.error_code].name, error.message)
    except ValueError as error:
        _refuse(context, "INVALID_ARGUMENT", str(error))


def _signature_defs(model: Model) -> Any:
    definitions = get_model_metadata_pb2.SignatureDefMap()
    definitions.signature_def["__saved_model_init_op"].SetInParent()  # as TensorFlow 2 writes into each
    for name, served in model.items():
        definition = definitions.signature_def[name]
        definition.method_name = "tensorflow/serving/predict"
        for specs, infos in (
            (served.signature.inputs, definition.inputs),
            (served.signature.outputs, definition.outputs),
        ):
            for spec in specs:
                infos[spec.name].dtype = tf.as_dtype(spec.dtype).as_datatype_enum
                infos[spec.name].tensor_shape.CopyFrom(tf.TensorShape(spec.shape).as_proto())
    return definitions


def _refuse(context: grpc.ServicerContext, code: str, details: str) -> NoReturn:
    context.abort(grpc.StatusCode[code], details)
