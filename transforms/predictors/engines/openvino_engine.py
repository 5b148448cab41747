"""OpenVINO, which computes on Intel's and AMD's processors."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms.errors import ModelError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.engines.base import Call, TensorFlowFunction
from transforms.predictors.engines.sliced import Sliced
from transforms.predictors.functions import Tensors

_IMPORTING = threading.Lock()
_TELEMETRY = "openvino_telemetry"


@dataclass(frozen=True)
class OpenVinoEngine:
    """Compute TensorFlow functions with OpenVINO; see `Engine`."""

    name: str = "openvino"
    module: str = "openvino"
    package: str = "openvino"

    def convert(self, function: TensorFlowFunction, batch_size: int) -> Call:
        """See `Engine.convert`."""
        return compile_openvino(convert_to_openvino(function.concrete), function.signature, batch_size)


def convert_to_openvino(concrete: Any) -> Any:
    """Convert a function of TensorFlow's to an `openvino.Model`.

    Args:
        concrete: A `ConcreteFunction`; it may be freed afterwards.

    Raises:
        Exception: It cannot be converted; `reason` shortens what OpenVINO says.
    """
    openvino = import_openvino()
    with _log_level_kept():
        # Shared weights would be TensorFlow's own memory, and garbage once TensorFlow has freed it.
        return openvino.convert_model(concrete, share_weights=False)


@functools.cache
def _core() -> Any:
    """Return the one core of the process, which is never freed.

    The plugin for CPUs gives the thread that loads it a stack for signals, and frees it with the last core,
    in whatever thread that happens: the next signal then ended the process.
    """
    return import_openvino().Core()


@contextlib.contextmanager
def _log_level_kept() -> Iterator[None]:
    """Undo that a conversion that fails leaves the whole process silent below errors."""
    root = logging.getLogger()
    level = root.level
    try:
        yield
    finally:
        root.setLevel(level)


def compile_openvino(model: Any, signature: Signature, batch_size: int) -> Call:
    """Make an OpenVINO model callable, on this machine's processor.

    Args:
        model: An `openvino.Model`.
        signature: The names of its inputs and outputs.
        batch_size: Single items are computed by all cores together; batches in slices, with a core for each.

    Raises:
        ModelError: The model has not the signature's inputs and outputs.
    """
    compiled = _core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY" if batch_size == 1 else "THROUGHPUT",
            # Without it, processors that can would compute in bfloat16.
            "INFERENCE_PRECISION_HINT": "f32",
            # Several worker processes on one machine would pin their threads to the same cores.
            "ENABLE_CPU_PINNING": False,
        },
    )
    inputs = _positions(compiled.inputs, signature.inputs, may_lack=True)
    outputs = _positions(compiled.outputs, signature.outputs)
    count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    workers = [_Worker(compiled.create_infer_request(), inputs, outputs) for _ in range(count)]
    return Sliced(workers, signature)


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which tells its makers of each import and conversion."""
    with _IMPORTING:
        if "openvino" not in sys.modules:
            with _hidden(_TELEMETRY):
                importlib.import_module("openvino")
    return sys.modules["openvino"]


@dataclass
class _Worker:
    """One request at a time of a compiled model; the positions of inputs and outputs are by name."""

    request: Any
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]

    def __call__(self, inputs: Tensors) -> Tensors:
        given = {position: inputs[name] for name, position in self.inputs.items()}
        results = self.request.infer(given, share_inputs=True)
        return {name: results[position] for name, position in self.outputs.items()}


def _positions(ports: Sequence[Any], specs: Sequence[TensorSpec], may_lack: bool = False) -> dict[str, int]:
    """Find the tensors of a signature among a model's.

    By name, or else by their order, which the conversion keeps: an output that is an input has that one's
    name. An input that the model makes no use of may be gone.
    """
    found = {name: position for position, port in enumerate(ports) for name in port.get_names()}
    names = [spec.name for spec in specs]
    if len(ports) == len(names):
        return {name: found.get(name, position) for position, name in enumerate(names)}
    if not may_lack or not found.keys() & set(names):
        raise ModelError(f"the converted model has {len(ports)} tensors for {', '.join(names)}")
    return {name: found[name] for name in names if name in found}


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Make the import of a module fail, as if it were not installed."""
    modules: dict[str, Any] = sys.modules
    hidden = modules.get(module)
    modules[module] = None
    try:
        yield
    finally:
        del modules[module]
        if hidden is not None:
            modules[module] = hidden
