"""LiteRT, which was TensorFlow Lite, with the kernels of XNNPACK."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from transforms.errors import ModelError
from transforms.predictors.base import Signature
from transforms.predictors.engines.base import Call, TensorFlowFunction
from transforms.predictors.engines.sliced import Sliced, available_cores
from transforms.predictors.functions import Tensors
from transforms.predictors.tensorflow_runtime import import_tensorflow, standard_error_without

MAX_INTERPRETERS = 4
"""Each has its own copy of the weights; on machines with more cores, each computes with several."""

# What the converter and the interpreter write to standard error; errors reach us as exceptions.
_NOISE = re.compile(
    rb"WARNING: All log messages before absl|[IWE]\d{4} |INFO: Created TensorFlow Lite XNNPACK|loc\(|error: |"
    rb"fully_quantize: |Some ops are not supported|TF Select ops: |Details:|\ttf\.|\s*$"
)


@dataclass(frozen=True)
class LiteRtEngine:
    """Compute TensorFlow functions with LiteRT; see `Engine`."""

    name: str = "litert"
    module: str = "ai_edge_litert"
    package: str = "ai-edge-litert"

    def convert(self, function: TensorFlowFunction, batch_size: int) -> Call:
        """See `Engine.convert`."""
        return compile_litert(convert_to_tflite(function.concrete), function.signature, batch_size)


def convert_to_tflite(concrete: Any, configure: Callable[[Any], None] = lambda converter: None) -> bytes:
    """Convert a function of TensorFlow's to a TensorFlow Lite model with one signature.

    Args:
        concrete: A `ConcreteFunction`.
        configure: Is given the `TFLiteConverter`, to set how it converts.

    Raises:
        Exception: It cannot be converted; `reason` shortens what TensorFlow says.
    """
    tf = import_tensorflow()
    owner = tf.Module()  # the converter wants something that holds the variables
    owner.held = list(concrete.graph.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], owner)
    configure(converter)
    with standard_error_without(_NOISE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        return bytes(converter.convert())


def compile_litert(content: bytes, signature: Signature, batch_size: int) -> Call:
    """Make a TensorFlow Lite model callable, on this machine's processor.

    Args:
        content: Of a `.tflite` file with one signature.
        signature: The same, as TensorFlow has it.
        batch_size: Single items are computed by all cores together; batches in slices, with a core for each.

    Raises:
        ModelError: The model has not the signature's outputs.
    """
    cores = available_cores()
    count = 1 if batch_size == 1 else min(cores, MAX_INTERPRETERS)
    outputs = [spec.name for spec in signature.outputs]
    workers = [_make_worker(content, max(1, cores // count), outputs) for _ in range(count)]
    return Sliced(workers, signature)


def _make_worker(content: bytes, threads: int, outputs: Collection[str]) -> Call:
    interpreters = importlib.import_module("ai_edge_litert.interpreter")
    with standard_error_without(_NOISE):
        interpreter = interpreters.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        signatures = interpreter.get_signature_list()
        if len(signatures) != 1:
            raise ModelError(f"the model has {len(signatures)} signatures")
        runner = interpreter.get_signature_runner()
    ((_, tensors),) = signatures.items()
    if not set(outputs) <= set(tensors["outputs"]):
        raise ModelError(f"the model has the outputs {', '.join(tensors['outputs'])}")
    taken = list(tensors["inputs"])

    def call(inputs: Tensors) -> Tensors:
        found = runner(**{name: inputs[name] for name in taken})
        return {name: found[name] for name in outputs}

    return call
