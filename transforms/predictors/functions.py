"""What a loaded model can do: a signature that is called with a batch."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from transforms.errors import ItemError, ModelError
from transforms.predictors.base import Signature

Tensors = Mapping[str, "np.ndarray[Any, Any]"]
"""A batch by the names of the inputs or the outputs; strings are object arrays of `bytes` or `str`."""


class Function(Protocol):
    """One signature of one model, on whatever runs it.

    Like a predictor it is made on the launching machine, so that nothing heavy happens before `load`; unlike
    one it knows nothing of files.
    """

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs, known before `load`."""

    def load(self) -> None:
        """Do the heavy work."""

    def call(self, inputs: Tensors) -> Tensors:
        """Compute the outputs of a batch, from any thread.

        Raises:
            Exception: Something in the batch cannot be computed.
        """

    def item_error(self, error: Exception) -> ItemError:
        """Tell what is wrong with an item, from what `call` raised for it alone."""

    def suspects(self, inputs: Tensors) -> Collection[int]:
        """Tell which items probably made `call` raise, by their positions; cheap, and allowed to be wrong."""


@dataclass
class Chain:
    """Two functions as one: what the first puts out, the second takes in.

    So a model whose `preprocess` signature makes images of bytes, and whose `from_images` takes images, is
    fed with bytes, and serving prepares the images just as training did.
    """

    first: Function
    second: Function

    def __post_init__(self) -> None:
        """Refuse functions that do not fit.

        Raises:
            ModelError: The second takes nothing of what the first makes.
        """
        if not self._passed:
            raise ModelError(
                f"signature {self.first.signature} makes nothing that {self.second.signature} takes"
            )

    @property
    def signature(self) -> Signature:
        """The inputs of both, the outputs of the second, by the second's name."""
        first, second = self.first.signature, self.second.signature
        others = tuple(spec for spec in second.inputs if spec.name not in self._passed)
        return Signature(second.name, first.inputs + others, second.outputs)

    def load(self) -> None:
        """Load both; where they are of one model, it is loaded once."""
        with _each_model_once():
            self.first.load()
            self.second.load()

    def __copy__(self) -> Chain:
        """Copy the functions as well, so that loading the copy leaves the original as light as it was."""
        return replace(self, first=copy.copy(self.first), second=copy.copy(self.second))

    def call(self, inputs: Tensors) -> Tensors:
        """Call one after the other."""
        taken = {spec.name for spec in self.first.signature.inputs}
        made = self.first.call({name: values for name, values in inputs.items() if name in taken})
        others = {name: values for name, values in inputs.items() if name not in taken}
        return self.second.call(others | {name: made[name] for name in self._passed})

    @property
    def _passed(self) -> list[str]:
        """The names of what the first makes and the second takes."""
        made = {spec.name: spec for spec in self.first.signature.outputs}
        return [
            spec.name
            for spec in self.second.signature.inputs
            if spec.name in made
            and spec.dtype == made[spec.name].dtype
            and spec.accepts(made[spec.name].shape)
        ]

    def item_error(self, error: Exception) -> ItemError:
        """See `Function.item_error`."""
        return self.first.item_error(error)

    def suspects(self, inputs: Tensors) -> Collection[int]:
        """See `Function.suspects`."""
        return self.first.suspects(inputs)


_LOADED: ContextVar[dict[str, Any] | None] = ContextVar("_LOADED", default=None)


def load_once(path: str, load: Callable[[str], Any]) -> Any:
    """Load a model, or return it where another function of the same chain has just loaded it."""
    loaded = _LOADED.get()
    if loaded is None:
        return load(path)
    if path not in loaded:
        loaded[path] = load(path)
    return loaded[path]


@contextlib.contextmanager
def _each_model_once() -> Iterator[None]:
    """Let `load_once` remember what it loads, no longer than the loading lasts."""
    token = _LOADED.set({})
    try:
        yield
    finally:
        _LOADED.reset(token)
