"""A model while it is used: loaded once, and warm."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.predictors.base import Outcome, Predictor
from transforms.predictors.queues import take_all
from transforms.records import FileBytes


@dataclass(frozen=True)
class Loaded:
    """A model was loaded for its first batch.

    Attributes:
        load_seconds: How long that took.
        warm_up_seconds: How long the warm-up took after that.
    """

    load_seconds: float
    warm_up_seconds: float


@dataclass(frozen=True)
class Swapped:
    """A newer version of the model has taken over."""

    number: int


@dataclass(frozen=True)
class Refused:
    """A newer version of the model is broken."""

    number: int


Event = Loaded | Swapped | Refused


class ServingModel:
    """A predictor that serves as it is; made by `swapping_model.serve`.

    Args:
        predictor: What to load.
        batch_size: The size of the batches that it will be used with.
    """

    def __init__(self, predictor: Predictor, batch_size: int) -> None:
        self._predictor = predictor
        self._batch_size = batch_size
        self._current: Predictor | None = None
        self._events: deque[Event] = deque()

    def load(self) -> None:
        """Load and warm up; called once, before anything else.

        Raises:
            ModelError: The model cannot be loaded.
        """
        predictor = copy.copy(self._predictor)  # the original stays light enough to be pickled
        self._events.append(self._make_ready(predictor))
        self._current = predictor

    def current(self) -> Predictor:
        """Return what predicts at present.

        One batch is predicted on by one version: so ask once for each batch, and keep no version for longer.
        """
        if self._current is None:
            raise RuntimeError("load() was not called")
        return self._current

    def observe(self, batch: Sequence[FileBytes], outcomes: Sequence[Outcome | Exception]) -> None:
        """Be told what became of a batch."""

    def events(self) -> list[Event]:
        """Return what has happened since this was last called."""
        return take_all(self._events)

    def watch(self) -> object:
        """Begin to look for newer versions, and go on until nobody holds what is returned."""
        return None

    def _make_ready(self, predictor: Predictor) -> Loaded:
        start = time.monotonic()
        predictor.load()
        loaded = time.monotonic()
        predictor.warm_up(self._batch_size)
        return Loaded(loaded - start, time.monotonic() - loaded)
