"""A model on the worker itself, as a predictor."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from transforms.errors import ContractError, ItemError, ModelError
from transforms.predictors.base import InputKind, Outcome, Signature
from transforms.predictors.feed import Feed, Values
from transforms.predictors.functions import Function
from transforms.predictors.isolation import isolate
from transforms.predictors.rows import rows_of
from transforms.predictors.warm_up import warm_up
from transforms.records import FileBytes, Outputs


class Source(Protocol):
    """Where a model comes from."""

    def fingerprint_of_copy(self) -> str:
        """Tell the model from others by its content, as it is on this machine: copied there if need be."""


@dataclass
class LocalPredictor:
    """Predict with a function that runs in this process.

    Attributes:
        model: Where the model was found, as the records name it.
        model_version: Which model it is.
        function: What to call.
        feed: How items become its inputs.
        source: Where the model's content can be told again, to see on the worker that it is still the same.
        content: What it was when the predictor was made.
    """

    model: str
    model_version: str
    function: Function
    feed: Feed
    source: Source | None = None
    content: str | None = None

    @property
    def signature(self) -> Signature:
        """The signature of the function."""
        return self.function.signature

    @property
    def input_kind(self) -> InputKind:
        """What the function is fed with."""
        return self.feed.kind

    def load(self) -> None:
        """Load the model.

        Raises:
            ModelError: It cannot be loaded, or is no longer what it was when the predictor was made.
        """
        if self.source is not None and self.source.fingerprint_of_copy() != self.content:
            raise ModelError(
                f"--model {self.model} has changed since the start; give each version a folder of its own"
            )
        self.function.load()

    def __copy__(self) -> LocalPredictor:
        """Copy the function as well, so that loading the copy leaves the original as light as it was."""
        return replace(self, function=copy.copy(self.function))

    def warm_up(self, batch_size: int) -> None:
        """See `Predictor.warm_up`; what the model refuses costs nothing but a slow first batch."""
        warm_up(self.function, self.feed, batch_size)

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `Predictor.predict`.

        An item that cannot be fed to the model costs nothing else. A batch that the model refuses is searched
        for the items to blame: those that the function suspects are tried one by one, the others together.

        Raises:
            ContractError: The model returns another number of rows than it was given.
        """
        prepared = self.feed.prepare(batch)
        outcomes: list[Outcome | None] = [item if isinstance(item, ItemError) else None for item in prepared]
        fed = [item for item in prepared if not isinstance(item, ItemError)]
        predicted = iter(self._predict_fed(fed) if fed else [])
        return [next(predicted) if outcome is None else outcome for outcome in outcomes]

    def _predict_fed(self, items: Sequence[Values]) -> Sequence[Outcome]:
        try:
            return self._predict_together(items)
        except ContractError:
            raise
        except Exception as error:
            if len(items) == 1:
                return [self.function.item_error(error)]
        suspects = self.function.suspects(self.feed.stack(items))
        return isolate(self._predict_together, items, self.function.item_error, suspects)

    def _predict_together(self, items: Sequence[Values]) -> Sequence[Outputs]:
        outputs = self.function.call(self.feed.stack(items))
        return rows_of(outputs, self.signature, len(items))
