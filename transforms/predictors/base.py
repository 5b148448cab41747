"""What a model looks like to the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from transforms.errors import ItemError
from transforms.records import FileBytes, Outputs

InputKind = Literal["names", "bytes", "images", "arrays"]
"""What a model is fed with: the names of files, which it reads itself, their bytes, or what these encode:
images, or arrays of numbers."""

INPUT_KINDS: tuple[InputKind, ...] = ("names", "bytes", "images", "arrays")


@dataclass(frozen=True)
class VersionedOutputs:
    """The outputs of another version than the predictor was made with: a server may be updated meanwhile.

    Attributes:
        outputs: What the model gives for the item.
        model_version: Which version of it did.
    """

    outputs: Outputs
    model_version: str


Outcome = Outputs | VersionedOutputs | ItemError
"""What becomes of one item: its outputs, or the reason why there are none."""


@dataclass(frozen=True)
class TensorSpec:
    """The name, dtype and shape of a tensor.

    Attributes:
        name: As the signature calls it.
        dtype: NumPy's name for it (`float32`, `int64`), or `string`.
        shape: With the batch dimension first and None for a dimension that varies; None when the rank is
            unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def item_shape(self) -> tuple[int | None, ...] | None:
        """The shape of one item: without the batch dimension."""
        return None if self.shape is None else self.shape[1:]

    def accepts(self, shape: tuple[int | None, ...] | None) -> bool:
        """Tell whether a tensor of a shape may be of this one; what is not known may."""
        return self.shape is None or shape is None or _fits(shape, self.shape)

    def accepts_item(self, shape: tuple[int | None, ...]) -> bool:
        """Tell whether one item of a shape may be put into a batch of this one."""
        return self.item_shape is None or _fits(shape, self.item_shape)

    def __str__(self) -> str:
        """Write the spec as `scores: float32 [?, 10]`."""
        if self.shape is None:
            return f"{self.name}: {self.dtype} [any shape]"
        dimensions = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype} [{dimensions}]"


def _fits(found: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(found, wanted, strict=True)
    )


@dataclass(frozen=True)
class Signature:
    """A function of a model: its name, its inputs and its outputs, each sorted by name."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __str__(self) -> str:
        """Write the signature as `name(inputs) -> (outputs)`."""
        inputs = ", ".join(map(str, self.inputs))
        outputs = ", ".join(map(str, self.outputs))
        return f"{self.name}({inputs}) -> ({outputs})"


class Predictor(Protocol):
    """A model behind one small interface, usable with and without Beam.

    An instance is made and pickled on the launching machine, so that nothing heavy happens before `load`.
    """

    @property
    def model(self) -> str:
        """Where the model comes from, as the records name it."""

    @property
    def model_version(self) -> str:
        """Which model it is: equal for equal models, different for different ones."""

    @property
    def signature(self) -> Signature:
        """The function that `predict` calls, known without predicting."""

    @property
    def input_kind(self) -> InputKind:
        """Whether the items carry only names or also their bytes."""

    def load(self) -> None:
        """Do the heavy work; called once per worker process, before the first `predict`."""

    def warm_up(self, batch_size: int) -> None:
        """Make the first real batch as fast as later ones; called once, after `load`."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """Predict on a batch, from any thread.

        Args:
            batch: At least one item.

        Returns:
            As many outcomes as items, in order. An item that fails costs only its own outcome.

        Raises:
            Exception: The batch failed for a reason that the predictor cannot pin on items; the caller
                then finds out which they are.
        """
