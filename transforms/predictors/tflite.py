"""A TensorFlow Lite model, run by LiteRT, without TensorFlow.

One interpreter that several threads use at a time gives wrong results and no error. So there are a few, each
used by one thread at a time, and a batch is cut into slices that they compute side by side; see
`engines.sliced`, where it stands how that compares with one interpreter of several threads.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from transforms.errors import ItemError, ModelError, PredictionError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.engines.differences import difference
from transforms.predictors.engines.litert_engine import MAX_INTERPRETERS
from transforms.predictors.engines.sliced import Sliced, available_cores
from transforms.predictors.functions import Tensors
from transforms.predictors.samples import sample_item
from transforms.predictors.saved_model import DEFAULT_SIGNATURE
from transforms.predictors.tflite_interpreter import check_weights, first_line, open_runner
from transforms.predictors.tflite_tensors import Array, Tensor

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
        runner = open_runner(self.path, self.signature_name, threads=1)
        check_weights(self.path)
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
        make = partial(open_runner, self.path, self.signature_name, max(1, cores // count))
        self._call = Sliced([_Worker(facts, make) for _ in range(count)], facts.sliceable)

    def call(self, inputs: Tensors) -> Tensors:
        """See `Function.call`."""
        return self._call(inputs)

    def item_error(self, error: Exception) -> ItemError:
        """See `Function.item_error`."""
        return PredictionError(first_line(error))

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
