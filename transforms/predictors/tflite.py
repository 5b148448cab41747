"""A TensorFlow Lite model, run by LiteRT, without TensorFlow.

One interpreter that several threads use at a time gives wrong results and no error. So there are a few, each
used by one thread at a time, and a batch is cut into slices that they compute side by side; see
`engines.sliced`, where it stands how that compares with one interpreter of several threads.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from mmap import ACCESS_READ, mmap
from typing import Any

import numpy as np

from transforms.errors import ItemError, ModelError, PredictionError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.engines.differences import difference
from transforms.predictors.engines.litert_engine import MAX_INTERPRETERS
from transforms.predictors.engines.sliced import Sliced, available_cores
from transforms.predictors.functions import Tensors
from transforms.predictors.keras_file import distinct, local_model_file
from transforms.predictors.samples import sample_item
from transforms.predictors.saved_model import DEFAULT_SIGNATURE
from transforms.predictors.tensorflow_runtime import standard_error_without

_MARK = b"TFL3"  # from the fifth byte on
_ALLOCATING = threading.Lock()
_NOISE = re.compile(rb"INFO: Created TensorFlow Lite XNNPACK")

_SAME = 1e-2
"""How far a batch's outputs may be from those of its items alone; what mixes up items is farther off."""

_REASONS = (
    (
        r"Select TensorFlow op.*?\(Flex(\w+)\)|Select TensorFlow op",
        "it has operations of TensorFlow's that LiteRT lacks ({}); convert it with TFLITE_BUILTINS alone, or "
        "give the SavedModel that it was made of",
    ),
    (r"unresolved custom op: (\w+)", "it has the custom operation {}, which LiteRT lacks"),
)
"""What LiteRT's messages say of a model that it cannot run on any input, in words that help."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a model: as users see it, and as it is stored.

    Attributes:
        spec: As users see it; what is quantized is float32 to them.
        stored: The dtype in the model.
        scale: What a step of the stored whole numbers is worth; 0 where nothing is quantized.
        zero_point: The whole number that stands for 0.
        rows: The size of the batch that the model was made for; None for any.
    """

    spec: TensorSpec
    stored: str
    scale: float
    zero_point: int
    rows: int | None

    @classmethod
    def of(cls, name: str, details: Mapping[str, Any]) -> Tensor:
        """Read what LiteRT tells of a tensor.

        Raises:
            ModelError: It is quantized in a way that inputs and outputs never are.
        """
        stored = np.dtype(details["dtype"])
        dtype = "string" if stored.kind == "S" else stored.name
        shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
        scale, zero_point = _quantization(name, details["quantization_parameters"])
        seen = TensorSpec(name, "float32" if scale else dtype, (None, *shape[1:]) if shape else ())
        return cls(seen, dtype, scale, zero_point, shape[0] if shape else None)

    def store(self, values: Array) -> Array:
        """Make of what users give what the model takes.

        Raises:
            ValueError: The values are not of the input's shape, or cannot be quantized.
        """
        if not self.spec.accepts(values.shape):  # LiteRT takes any, and computes nonsense
            raise ValueError(f"the model takes {self.spec}; got {values.dtype} {list(values.shape)}")
        if self.stored == "string":
            return np.asarray(np.frompyfunc(_encoded, 1, 1)(values), object)
        if not self.scale:
            return values
        if np.isnan(values).any():
            raise ValueError(f"the model takes {self.spec} in whole numbers, which have no NaN")
        limits = np.iinfo(self.stored)
        steps = np.round(values / np.float32(self.scale)) + self.zero_point
        stored: Array = np.clip(steps, limits.min, limits.max).astype(self.stored)
        return stored

    def seen(self, values: Array) -> Array:
        """Make of what the model returns what users get."""
        if not self.scale:
            return values
        steps = values.astype(np.float32) - np.float32(self.zero_point)
        seen: Array = steps * np.float32(self.scale)
        return seen


@dataclass(frozen=True)
class Facts:
    """What must be known of a signature to call it.

    Attributes:
        signature: As users see it.
        inputs: In its order.
        outputs: Likewise.
        rows: How many rows it must be given at once; None for any number.
    """

    signature: Signature
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    rows: int | None

    @property
    def sliceable(self) -> Signature:
        """The signature, with its batches as long as they must be, so that no slices are filled up."""
        if self.rows in (None, 1):
            return self.signature
        inputs = [
            replace(spec, shape=spec.shape and (self.rows, *spec.shape[1:])) for spec in self.signature.inputs
        ]
        return replace(self.signature, inputs=tuple(inputs))


@dataclass
class TfliteFunction:
    """One signature of a TensorFlow Lite model.

    A model without signatures has one, by the default name, with all its inputs and outputs. Where a model
    cannot be given a batch of another size than it was made for, it is given its own size, again and again.

    Attributes:
        path: Of the `.tflite` file, local or on any file system that the project reads.
        signature_name: Which of its signatures to call.
    """

    path: str
    signature_name: str = DEFAULT_SIGNATURE

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what is known of the model, and no interpreters."""
        return {name: value for name, value in self.__dict__.items() if name != "_call"}

    @property
    def signature(self) -> Signature:
        """The signature; LiteRT, which is light, tells it, and the model is tried on made-up items.

        Raises:
            ModelError: The model cannot be read or run, or has no such signature.
        """
        return self._facts.signature

    @cached_property
    def _facts(self) -> Facts:
        runner = _runner(self.path, self.signature_name, threads=1)
        _check_weights(self.path)
        inputs = tuple(Tensor.of(*item) for item in sorted(runner.get_input_details().items()))
        outputs = tuple(Tensor.of(*item) for item in sorted(runner.get_output_details().items()))
        specs = (tuple(tensor.spec for tensor in tensors) for tensors in (inputs, outputs))
        rows = _rows_at_once(self.path, inputs, runner)
        return Facts(Signature(self.signature_name, *specs), inputs, outputs, rows)

    def load(self) -> None:
        """Make the interpreters.

        Raises:
            ModelError: As for `signature`.
        """
        facts, cores = self._facts, available_cores()
        count = min(cores, MAX_INTERPRETERS)
        make = partial(_runner, self.path, self.signature_name, max(1, cores // count))
        self._call = Sliced([_Worker(facts, make) for _ in range(count)], facts.sliceable)

    def call(self, inputs: Tensors) -> Tensors:
        """See `Function.call`."""
        return self._call(inputs)

    def item_error(self, error: Exception) -> ItemError:
        """See `Function.item_error`."""
        return PredictionError(_first_line(error))

    def suspects(self, inputs: Tensors) -> Collection[int]:
        """Suspect nothing: the models read no files and decode no images."""
        return ()


class _Worker:
    """Computes batches with an interpreter of its own."""

    def __init__(self, facts: Facts, make_runner: partial[Any]) -> None:
        self._facts = facts
        self._make_runner = make_runner
        self._runner = make_runner()

    def __call__(self, inputs: Tensors) -> Tensors:
        stored = {tensor.spec.name: tensor.store(inputs[tensor.spec.name]) for tensor in self._facts.inputs}
        try:
            made = _compute(self._runner, stored, self._facts)
        except Exception:
            self._runner = self._make_runner()  # what failed is in no known state
            raise
        return {tensor.spec.name: tensor.seen(made[tensor.spec.name]) for tensor in self._facts.outputs}


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


def _runner(path: str, signature: str, threads: int) -> Any:
    interpreter = _interpreter(path, threads)
    signatures = interpreter.get_signature_list()
    if not signatures and signature == DEFAULT_SIGNATURE:
        return _WholeModel(interpreter)
    if signature not in signatures:
        listed = "".join(f"\n    {name}" for name in signatures)
        remedy = f"pass --signature with one that it has:{listed}" if listed else "leave --signature out"
        raise ModelError(f"--model {path} has no signature {signature!r}; {remedy}")
    return interpreter.get_signature_runner(signature)


def _interpreter(path: str, threads: int) -> Any:
    local = local_model_file(path)
    _check_mark(path, local)
    try:
        interpreter = _litert().Interpreter(model_path=local, num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"--model {path} is damaged or cut off: {_first_line(error)}") from error
    with _ALLOCATING, standard_error_without(_NOISE), contextlib.suppress(RuntimeError):
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


def _check_weights(path: str) -> None:
    """Refuse a model that reads variables which it never sets: LiteRT computes nonsense, and says nothing."""
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


def _quantization(name: str, parameters: Mapping[str, Any]) -> tuple[float, int]:
    scales = parameters["scales"]
    if len(scales) > 1:
        raise ModelError(f"tensor {name!r} has {len(scales)} scales; an input or an output has one")
    return (float(scales[0]), int(parameters["zero_points"][0])) if len(scales) else (0.0, 0)


def _encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _compute(runner: Any, stored: Tensors, facts: Facts) -> Tensors:
    """Compute a batch at once, or as often as the model must be called for it."""
    if facts.rows is None:
        made: Tensors = runner(**stored)
        return made
    count = len(next(values for values in stored.values() if values.ndim))
    parts = [runner(**part) for part in _cut(stored, count, facts.rows)]
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _cut(stored: Tensors, count: int, rows: int) -> Iterator[Tensors]:
    """Cut a batch into parts of a size; the last is filled up with its last row."""
    for start in range(0, count, rows):
        taken = np.minimum(np.arange(start, start + rows), count - 1)
        yield {name: values[taken] if values.ndim else values for name, values in stored.items()}


def _rows_at_once(path: str, inputs: Sequence[Tensor], runner: Any) -> int | None:
    """Tell how many rows a model must be given at once; None where any number gives the same.

    That a model lets itself be resized does not mean that it computes its items apart from each other: a
    reshaping in its graph may have mixed them up. So it is tried on made-up items.

    Raises:
        ModelError: The model can be run on nothing at all.
    """
    rows = max((tensor.rows for tensor in inputs if tensor.rows), default=1)
    parts = [_made_up(inputs, rows, seed) for seed in range(2)]
    try:
        apart = [runner(**part) for part in parts]
    except Exception as error:
        _refuse_unusable(path, error)
        return None if rows == 1 else rows  # the made-up items may be what is wrong
    _check_rows(path, apart[0], rows)
    try:
        together = runner(**{name: _joined(parts, name) for name in parts[0]})
        expected = {name: np.concatenate([part[name] for part in apart]) for name in apart[0]}
        return None if difference(together, expected).value <= _SAME else rows
    except Exception:  # it cannot be resized
        return rows


def _joined(parts: Sequence[Tensors], name: str) -> Array:
    return np.concatenate([part[name] for part in parts]) if parts[0][name].ndim else parts[0][name]


def _made_up(inputs: Sequence[Tensor], rows: int, seed: int) -> Tensors:
    random = np.random.default_rng(seed)
    return {tensor.spec.name: tensor.store(_random(tensor.spec, rows, random)) for tensor in inputs}


def _random(spec: TensorSpec, rows: int, random: np.random.Generator) -> Array:
    """Make rows of numbers from 0 to 1, which most models take."""
    item = sample_item(spec)
    shape = (rows, *item.shape) if spec.shape else ()
    if item.dtype.kind == "O":
        return np.full(shape, b"", object)
    numbers: Array = random.random(shape).round(0 if item.dtype.kind in "biu" else 6).astype(item.dtype)
    return numbers


def _refuse_unusable(path: str, error: Exception) -> None:
    for pattern, words in _REASONS:
        if match := re.search(pattern, str(error), re.DOTALL):
            telling = ", ".join(filter(None, match.groups()))
            raise ModelError(f"--model {path} cannot be run: {words.format(telling)}") from error


def _check_rows(path: str, outputs: Tensors, rows: int) -> None:
    for name, values in outputs.items():
        if values.shape[:1] != (rows,):
            raise ModelError(
                f"--model {path}: its output {name!r} has the shape {list(values.shape)} for a batch of "
                f"{rows}; its first dimension must be the batch's"
            )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
