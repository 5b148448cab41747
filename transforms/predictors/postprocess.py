"""A predictor whose outputs are changed before anybody sees them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from transforms.errors import ItemError, ModelError, PostprocessError
from transforms.predictors.base import (
    InputKind,
    Outcome,
    Predictor,
    Signature,
    TensorSpec,
    VersionedOutputs,
)
from transforms.predictors.outputs import as_outputs
from transforms.records import FileBytes, Outputs

Postprocess = Callable[[Outputs], Outputs]
"""From one item's outputs to those that are written; it may be called from any thread."""


def with_postprocessing(
    predictor: Predictor, postprocess: Postprocess, outputs: Sequence[TensorSpec] | None = None
) -> PostprocessedPredictor:
    """Put a function of one's own behind a predictor.

    Args:
        predictor: Makes the outputs.
        postprocess: From the outputs of one item to other outputs. What it raises, and what it returns
            beside `outputs`, costs that item only: it becomes a dead letter of the stage `postprocess`.
        outputs: All outputs that it returns, for the schemas; None where they are those of the predictor.

    Raises:
        ModelError: Two of the outputs have the same name.

    Example:
        >>> def add_margin(outputs):
        ...     second, first = sorted(outputs["scores"])[-2:]
        ...     return {**outputs, "margin": first - second}
        >>> added = TensorSpec("margin", "float32", (None,))
        >>> predictor = open_model("examples/digits/model", "from_bytes")
        >>> with_postprocessing(predictor, add_margin, (*predictor.signature.outputs, added))
    """
    specs = predictor.signature.outputs if outputs is None else outputs
    names = [spec.name for spec in specs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ModelError(
            f"there would be two outputs {repeated[0]!r} after {predictor.signature}; give one another name"
        )
    return PostprocessedPredictor(predictor, postprocess, tuple(sorted(specs, key=lambda spec: spec.name)))


@dataclass
class PostprocessedPredictor:
    """A predictor with a function behind it; made by `with_postprocessing`.

    Attributes:
        predictor: Makes the outputs.
        postprocess: Makes other outputs of them, item by item.
        outputs: What the function returns, sorted by name.
    """

    predictor: Predictor
    postprocess: Postprocess
    outputs: tuple[TensorSpec, ...]

    @property
    def model(self) -> str:
        """The predictor's."""
        return self.predictor.model

    @property
    def model_version(self) -> str:
        """The predictor's: what is done to the outputs is no part of the model."""
        return self.predictor.model_version

    @property
    def signature(self) -> Signature:
        """The predictor's, with other outputs."""
        return replace(self.predictor.signature, outputs=self.outputs)

    @property
    def input_kind(self) -> InputKind:
        """The predictor's."""
        return self.predictor.input_kind

    def load(self) -> None:
        """Load the model."""
        self.predictor.load()

    def warm_up(self, batch_size: int) -> None:
        """Warm the model up; the function has nothing to be warmed."""
        self.predictor.warm_up(batch_size)

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `Predictor.predict`."""
        return [self._after(outcome) for outcome in self.predictor.predict(batch)]

    def __copy__(self) -> PostprocessedPredictor:
        """Copy the predictor as well, so that loading the copy leaves the original as light as it was."""
        return replace(self, predictor=copy.copy(self.predictor))

    def _after(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Exception):
            return outcome
        if isinstance(outcome, VersionedOutputs):
            changed = self._changed(outcome.outputs)
            return changed if isinstance(changed, ItemError) else replace(outcome, outputs=changed)
        return self._changed(outcome)

    def _changed(self, outputs: Outputs) -> Outputs | ItemError:
        try:
            returned = self.postprocess(outputs)
        except PostprocessError as error:
            return error
        except Exception as error:  # the function may raise anything
            return PostprocessError(f"{type(error).__name__}: {error}")
        try:
            return as_outputs(returned, self.outputs)
        except Exception as error:  # what it returned may do anything when it is looked at
            return PostprocessError(f"what the postprocessing returned does not fit: {error}")
