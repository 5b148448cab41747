"""TensorFlow Lite models, opened with LiteRT, and checked: it takes much that it computes nonsense of."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Mapping, Sequence
from mmap import ACCESS_READ, mmap
from typing import Any

from transforms.errors import ModelError
from transforms.predictors.functions import Tensors
from transforms.predictors.keras_file import distinct, local_model_file
from transforms.predictors.saved_model import DEFAULT_SIGNATURE
from transforms.predictors.tensorflow_runtime import standard_error_without
from transforms.predictors.tflite_tensors import Array

_MARK = b"TFL3"  # from the fifth byte on
_NOISE = re.compile(rb"INFO: Created TensorFlow Lite XNNPACK")


def open_runner(path: str, signature: str, threads: int) -> Any:
    """Open a model, and return what computes one of its signatures, as LiteRT's `SignatureRunner` does.

    Args:
        path: Of the `.tflite` file, local or on any file system that the project reads.
        signature: The name of one that the model has; the default name, where it has none.
        threads: How many compute a batch.

    Raises:
        ModelError: The model cannot be read, or has no such signature.
    """
    interpreter = _interpreter(path, threads)
    signatures = interpreter.get_signature_list()
    if not signatures and signature == DEFAULT_SIGNATURE:
        return _WholeModel(interpreter)
    if signature not in signatures:
        listed = "".join(f"\n    {name}" for name in signatures)
        remedy = f"pass --signature with one that it has:{listed}" if listed else "leave --signature out"
        raise ModelError(f"--model {path} has no signature {signature!r}; {remedy}")
    return interpreter.get_signature_runner(signature)


def check_weights(path: str) -> None:
    """Refuse a model that reads variables which it never sets: LiteRT computes nonsense, and says nothing.

    Raises:
        ModelError: It is such a model.
    """
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    with open(local_model_file(path), "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        model = schema.Model.GetRootAs(content, 0)
        used = {model.OperatorCodes(index).BuiltinCode() for index in range(model.OperatorCodesLength())}
    operators = schema.BuiltinOperator
    if operators.READ_VARIABLE in used and operators.ASSIGN_VARIABLE not in used:
        raise ModelError(
            f"--model {path} was converted without its weights; convert it again, from one concrete "
            "function, or from a SavedModel with that signature alone"
        )


def first_line(error: Exception) -> str:
    """Shorten LiteRT's message to what it says first; what follows is about its inner parts."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class _WholeModel:
    """A model without signatures, as if it were LiteRT's `SignatureRunner`."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._inputs = _by_name(interpreter.get_input_details())
        self._outputs = _by_name(interpreter.get_output_details())

    def get_input_details(self) -> Mapping[str, Mapping[str, Any]]:
        return self._inputs

    def get_output_details(self) -> Mapping[str, Mapping[str, Any]]:
        return self._outputs

    def __call__(self, **inputs: Array) -> Tensors:
        for name, values in inputs.items():
            self._interpreter.resize_tensor_input(self._inputs[name]["index"], values.shape)
        self._interpreter.allocate_tensors()
        for name, values in inputs.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], values)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(found["index"]) for name, found in self._outputs.items()}


def _by_name(details: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Name tensors as far as the graph does: `serving_default_images:0` is `images`."""
    names = [re.sub(r"^serving_default_|:0$", "", str(found["name"])) for found in details]
    return dict(zip(distinct(re.sub(r"\W+", "_", name) for name in names), details, strict=True))


def _interpreter(path: str, threads: int) -> Any:
    local = local_model_file(path)
    _check_mark(path, local)
    try:
        interpreter = _litert().Interpreter(model_path=local, num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"--model {path} is damaged or cut off: {first_line(error)}") from error
    with standard_error_without(_NOISE), contextlib.suppress(RuntimeError):
        interpreter.allocate_tensors()  # what cannot be run is told when it is run
    return interpreter


def _litert() -> Any:
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise ModelError(
            f"TensorFlow Lite models need the extra `litert`: pip install ai-edge-litert ({error})"
        ) from error


def _check_mark(model: str, local: str) -> None:
    try:
        with open(local, "rb") as file:
            found = file.read(8)
    except OSError as error:
        raise ModelError(f"--model {model} cannot be read: {error.strerror}") from error
    if found[4:] != _MARK:
        raise ModelError(f"--model {model} is not a TensorFlow Lite model: it begins with {found!r}")
