"""A model as a file of another engine's, and how well that agrees with the original."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from transforms.errors import ItemError
from transforms.predictors.base import Signature
from transforms.predictors.engines.base import DEFAULT_BATCH_SIZE, Call, Clock, TensorFlowFunction
from transforms.predictors.engines.differences import largest_absolute_difference
from transforms.predictors.engines.litert_engine import compile_litert, convert_to_tflite
from transforms.predictors.engines.openvino_engine import (
    compile_openvino,
    convert_to_openvino,
    import_openvino,
)
from transforms.predictors.engines.sliced import batched_inputs
from transforms.predictors.engines.trial import interleaved_medians, repeated
from transforms.predictors.functions import Chain, Function, Tensors
from transforms.predictors.local import LocalPredictor
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes

TFLITE = "tflite"
OPENVINO = "openvino"

OPENVINO_MODEL = "model.xml"
"""The file that stands for an OpenVINO model; its weights are beside it."""

FLOAT16 = "float16"
INT8 = "int8"
QUANTIZATIONS: Mapping[str, tuple[str, ...]] = {TFLITE: (FLOAT16, "dynamic", INT8), OPENVINO: (FLOAT16,)}
"""What each format can be quantized to."""

_TABLE_RANK = 2  # items, scores


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model.

    Attributes:
        files: Their contents, by their names in the output's folder; by an empty name where the output is the
            file itself.
        compile: Makes it callable; needs the engine.
    """

    files: Mapping[str, bytes]
    compile: Callable[[], Call]


@dataclass(frozen=True)
class Comparison:
    """How well two models agree on the same items.

    Attributes:
        items: How many.
        agreements: On how many of them they agree, by output: on the label, or on which score is the best.
        decided: How many have a label, or a single best score, in the original's output: where several scores
            are the best, any two models may seem to agree.
        differences: The largest absolute difference, by output; for outputs of floats.
        speedup: The first one's time by the second's, for a batch.
        batch_size: The size of that batch.
    """

    items: int
    agreements: Mapping[str, int]
    decided: Mapping[str, int]
    differences: Mapping[str, float]
    speedup: float
    batch_size: int


def convert_model(
    function: TensorFlowFunction,
    target: str,
    quantize: str | None = None,
    representative: Sequence[Tensors] = (),
) -> ConvertedModel:
    """Convert a function; inputs and outputs keep their names and dtypes, however it is quantized.

    Args:
        function: Loaded.
        target: A key of `QUANTIZATIONS`.
        quantize: One of its values; None to keep the numbers as they are.
        representative: Inputs of single items, from which `int8` takes the ranges of all numbers.

    Raises:
        Exception: It cannot be converted; `reason` says why in one line.
    """
    if target == TFLITE:
        return _to_tflite(function, quantize, representative)
    return _to_openvino(function, quantize)


def convertible_part(function: Function) -> Function:
    """Return what is converted of a function: of a chain the second, since the first decodes images."""
    return function.second if isinstance(function, Chain) else function


def inputs_of(predictor: LocalPredictor, item: FileBytes) -> Tensors:
    """Make of a file the inputs of what is converted of a loaded predictor's function, as a batch of one.

    Raises:
        ItemError: The file cannot be fed to the model.
    """
    (prepared,) = predictor.feed.prepare([item])
    if isinstance(prepared, ItemError):
        raise prepared
    inputs = predictor.feed.stack([prepared])
    function = predictor.function
    if not isinstance(function, Chain):
        return inputs
    taken = {spec.name: inputs[spec.name] for spec in function.first.signature.inputs}
    try:
        made = function.first.call(taken)
    except Exception as error:
        raise function.item_error(error) from error
    available = {**inputs, **made}
    return {spec.name: available[spec.name] for spec in function.second.signature.inputs}


def batches_of(items: Iterable[Tensors], signature: Signature, size: int) -> Iterator[Tensors]:
    """Put batches of one together, unless the signature takes a fixed number of rows."""
    batched = batched_inputs(signature)
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size if batched else 1)):
        joined = {name: np.concatenate([item[name] for item in batch]) for name in batched}
        yield {**batch[0], **joined}


def compare(
    original: Call,
    converted: Call,
    batches: Iterable[Tensors],
    signature: Signature,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    clock: Clock = time.perf_counter,
) -> Comparison:
    """Compare what two models compute, and their speed on a batch of the usual size.

    Raises:
        ValueError: There is no batch.
    """
    agreements: Counter[str] = Counter()
    decided: Counter[str] = Counter()
    differences: dict[str, float] = {}
    items, usual = 0, None
    for batch in batches:
        usual = usual or repeated(batch, signature, batch_size)
        expected, found = original(batch), converted(batch)
        items += _compare_batch(expected, found, agreements, decided, differences)
    if usual is None:
        raise ValueError("there is nothing to compare on")
    calls = {"original": partial(original, usual), "converted": partial(converted, usual)}
    for call in calls.values():
        call()
    seconds = interleaved_medians(calls, clock)
    return Comparison(
        items,
        agreements=dict(agreements),
        decided=dict(decided),
        differences=differences,
        speedup=seconds["original"] / seconds["converted"],
        batch_size=batch_size if batched_inputs(signature) else items,
    )


def _compare_batch(
    expected: Tensors,
    found: Tensors,
    agreements: Counter[str],
    decided: Counter[str],
    differences: dict[str, float],
) -> int:
    for name, values in expected.items():
        best, found_best = _decisions(values), _decisions(found[name])
        if best is not None and found_best is not None:
            clear = _is_decided(values)
            agreements[name] += int(np.count_nonzero(clear & (best == found_best)))
            decided[name] += int(np.count_nonzero(clear))
        if np.issubdtype(values.dtype, np.inexact):
            largest = largest_absolute_difference(found[name], values)
            differences[name] = max(differences.get(name, 0.0), largest)
    return len(next(iter(expected.values())))


def _decisions(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return the label of each item, or which of its scores is the best; None where an output has neither."""
    if not np.issubdtype(values.dtype, np.inexact):
        return values if values.ndim == 1 else None
    is_table = values.ndim == _TABLE_RANK and values.shape[1] > 1
    return np.asarray(values.argmax(axis=1)) if is_table else None


def _is_decided(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell of each item whether it has a label, or one score that is above all others."""
    if values.ndim == 1:
        return np.ones(len(values), bool)
    return np.asarray(np.count_nonzero(values == values.max(axis=1, keepdims=True), axis=1) == 1)


def _to_tflite(
    function: TensorFlowFunction, quantize: str | None, representative: Sequence[Tensors]
) -> ConvertedModel:
    def configure(converter: Any) -> None:
        tf = import_tensorflow()
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == FLOAT16:
            converter.target_spec.supported_types = [tf.float16]
        if quantize == INT8:
            converter.representative_dataset = lambda: iter(representative)

    content = convert_to_tflite(function.concrete, configure)
    return ConvertedModel(
        {"": content}, partial(compile_litert, content, function.signature, DEFAULT_BATCH_SIZE)
    )


def _to_openvino(function: TensorFlowFunction, quantize: str | None) -> ConvertedModel:
    openvino = import_openvino()
    model = convert_to_openvino(function.concrete)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, OPENVINO_MODEL)
        openvino.save_model(model, path, compress_to_fp16=quantize == FLOAT16)
        files = {written.name: written.read_bytes() for written in sorted(Path(folder).iterdir())}
    return ConvertedModel(files, partial(_compile_files, files, function.signature))


def _compile_files(files: Mapping[str, bytes], signature: Signature) -> Call:
    """Compile what was written, which may be less exact than what was converted."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        model = import_openvino().Core().read_model(Path(folder, OPENVINO_MODEL))
        return compile_openvino(model, signature, DEFAULT_BATCH_SIZE)
