"""What TensorFlow Serving makes of a request: checks, outputs, tensors; `tf_serving_grpc` serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from emulators.served import Served
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.functions import Function, Tensors
from transforms.predictors.saved_model import DEFAULT_SIGNATURE, SavedModelFunction
from transforms.predictors.saved_model_files import read_signatures
from transforms.predictors.tensorflow_runtime import import_tensorflow

tf = import_tensorflow()  # quietly, and before what imports it as well

from tensorflow_serving.apis import get_model_metadata_pb2  # noqa: E402

_FIELDS = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32"), "int_val"),
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),
    "float32": "float_val",
    "float64": "double_val",
    "object": "string_val",
    "complex64": "scomplex_val",
    **{name: f"{name}_val" for name in ("bool", "int64", "uint32", "uint64")},
}


class Refused(Exception):
    """A request that TensorFlow Serving refuses.

    Attributes:
        code: Of gRPC, by its name.
        details: In TensorFlow Serving's words.
    """

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


Model = Mapping[str, Served]
"""The signatures of one version of a model."""


def of_functions(*functions: Function) -> Model:
    """Serve functions that are loaded."""
    return {function.signature.name: Served(function.signature, function.call) for function in functions}


def of_saved_model(folder: str, *names: str) -> Model:
    """Load signatures of a SavedModel, all where none is named, and serve them."""
    functions = [SavedModelFunction(folder, name) for name in names or read_signatures(folder)]
    for function in functions:
        function.load()
    return of_functions(*functions)


def computed(request: Any, model: Model) -> tuple[str, Tensors]:
    """Return the signature that a PredictRequest asks for, and its outputs.

    Raises:
        Refused: There is no such signature, or it does not take the inputs.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in model:
        raise Refused("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    inputs = _inputs(request, model[name].signature)
    try:
        return name, model[name].compute(inputs)
    except tf.errors.OpError as error:
        raise Refused(_code_of(error), error.message) from error
    except ValueError as error:
        raise Refused("INVALID_ARGUMENT", str(error)) from error


def signature_defs(model: Model) -> Any:
    """Make the SignatureDefMap of a model."""
    definitions = get_model_metadata_pb2.SignatureDefMap()
    definitions.signature_def["__saved_model_init_op"].SetInParent()  # as TensorFlow 2 writes into each
    for name, served in model.items():
        definition = definitions.signature_def[name]
        definition.method_name = "tensorflow/serving/predict"
        _describe(served.signature.inputs, definition.inputs)
        _describe(served.signature.outputs, definition.outputs)
    return definitions


def tensor_proto(array: Any, as_content: bool = False) -> Any:
    """Make a `TensorProto` of an array: with a value for each element, or of numbers with their bytes."""
    array = np.asarray(array)
    is_text = array.dtype == object
    proto = type(tf.make_tensor_proto(0))()
    proto.dtype = (tf.string if is_text else tf.as_dtype(array.dtype)).as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    if as_content and not is_text:
        proto.tensor_content = array.tobytes()
    else:
        getattr(proto, _FIELDS[array.dtype.name]).extend(_values(array.ravel()))
    return proto


def _values(flat: np.ndarray[Any, Any]) -> list[Any]:
    if _FIELDS[flat.dtype.name] == "half_val":
        flat = flat.view(np.uint16)
    if flat.dtype.kind == "c":
        flat = flat.view(np.float32)
    return [value.encode() if isinstance(value, str) else value for value in flat.tolist()]


def _describe(specs: Sequence[TensorSpec], infos: Any) -> None:
    for spec in specs:
        infos[spec.name].dtype = tf.as_dtype(spec.dtype).as_datatype_enum
        infos[spec.name].tensor_shape.CopyFrom(tf.TensorShape(spec.shape).as_proto())


def _inputs(request: Any, signature: Signature) -> Tensors:
    wanted = {spec.name: spec for spec in signature.inputs}
    _check_names(sorted(request.inputs), sorted(wanted))
    return {name: _input(proto, wanted[name]) for name, proto in request.inputs.items()}


def _check_names(sent: Sequence[str], wanted: Sequence[str]) -> None:
    if len(sent) != len(wanted):
        extra, missing = sorted(set(sent) - set(wanted)), sorted(set(wanted) - set(sent))
        raise Refused(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{','.join(sent)}}}) != "
            f"len({{{','.join(wanted)}}}). Sent extra: {{{','.join(extra)}}}. "
            f"Missing but required: {{{','.join(missing)}}}.",
        )
    for name in sent:
        if name not in wanted:
            known = f"Inputs expected to be in the set {{{','.join(wanted)}}}."
            raise Refused("INVALID_ARGUMENT", f"input tensor alias not found in signature: {name}. {known}")


def _input(proto: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = tf.make_ndarray(proto)
        dtype = tf.as_dtype(proto.dtype).name
    except (TypeError, ValueError) as error:
        raise Refused("INVALID_ARGUMENT", f"tensor parsing error: {spec.name}") from error
    if dtype != spec.dtype:
        text = f"Expects {spec.name} to be {spec.dtype} but {dtype} is provided"
        raise Refused("INVALID_ARGUMENT", text)
    if not spec.accepts(array.shape):
        text = f"{spec.name}: the shape {list(array.shape)} is incompatible with {spec}"
        raise Refused("INVALID_ARGUMENT", text)
    return array


def _code_of(error: Any) -> str:
    """Return the name of an error's code; TensorFlow's are gRPC's."""
    return next((code.name for code in grpc.StatusCode if code.value[0] == error.error_code), "UNKNOWN")
