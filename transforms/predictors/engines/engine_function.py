"""A TensorFlow function that another engine computes."""

from __future__ import annotations

import copy
import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

from transforms.errors import EngineRefused, ItemError
from transforms.predictors.base import Signature
from transforms.predictors.engines.base import (
    AUTO,
    TENSORFLOW,
    Call,
    Clock,
    Engine,
    EngineWish,
    TensorFlowFunction,
)
from transforms.predictors.engines.made_up import inputs_are_made_up
from transforms.predictors.engines.report import EngineReport
from transforms.predictors.engines.trial import reason, try_engines
from transforms.predictors.functions import Tensors
from transforms.predictors.queues import take_all

_LOGGER = logging.getLogger(__name__)


@dataclass
class EngineFunction:
    """A function of TensorFlow's, computed by an engine that was tried on the first real batch.

    Attributes:
        function: What TensorFlow computes.
        engines: The engines to try; where the wish is not `auto`, the one that is wished for.
        wish: What they must do.
        clock: Tells seconds.
        report: What the trial found out; None before it.
    """

    function: TensorFlowFunction
    engines: tuple[Engine, ...]
    wish: EngineWish
    clock: Clock = time.perf_counter
    report: EngineReport | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what is wished for, and nothing that is loaded."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"report": None}

    @property
    def signature(self) -> Signature:
        """The function's."""
        return self.function.signature

    def load(self) -> None:
        """Load the function with TensorFlow, and convert it for each engine.

        Raises:
            ModelError: TensorFlow cannot load it.
            EngineRefused: The engine that is wished for cannot convert it.
        """
        reference = copy.copy(self.function)  # so that it can be freed
        reference.load()
        self.report = None
        self._new_reports: deque[EngineReport] = deque()
        self._deciding = threading.Lock()
        self._refused: dict[str, str] = {}
        self._candidates: dict[str, Call] = {}
        for engine in self.engines:
            self._convert(engine, reference)
        self._call: Call = reference.call

    def call(self, inputs: Tensors) -> Tensors:
        """See `Function.call`.

        Raises:
            EngineRefused: The engine that is wished for does not compute what TensorFlow does.
        """
        if self.report is None and not inputs_are_made_up():
            with self._deciding:
                if self.report is None:
                    self._decide(inputs)
        return self._call(inputs)

    def item_error(self, error: Exception) -> ItemError:
        """See `Function.item_error`."""
        return self.function.item_error(error)

    def suspects(self, inputs: Tensors) -> Collection[int]:
        """See `Function.suspects`."""
        return self.function.suspects(inputs)

    def new_reports(self) -> list[EngineReport]:
        """Return what was found out since this was last called."""
        return take_all(self._new_reports)

    def _convert(self, engine: Engine, reference: TensorFlowFunction) -> None:
        try:
            self._candidates[engine.name] = engine.convert(reference, self.wish.batch_size)
        except Exception as error:  # each engine raises its own
            self._refuse(engine.name, f"cannot convert signature {self.signature.name!r}: {reason(error)}")

    def _refuse(self, engine: str, why: str) -> None:
        if self.wish.engine != AUTO:
            raise EngineRefused(f"--engine {engine}: {why}; pass --engine {AUTO} or {TENSORFLOW}")
        self._refused[engine] = why

    def _decide(self, inputs: Tensors) -> None:
        """Choose by a batch; one that TensorFlow cannot compute itself leaves the choice to the next."""
        found = try_engines(
            self._call, self._candidates, inputs, self.signature, wish=self.wish, clock=self.clock
        )
        for name, why in found.refused.items():
            self._refuse(name, why)
        chosen = found.engine if self.wish.engine == AUTO else self.wish.engine
        self._call = self._candidates.get(chosen, self._call)
        self._candidates = {}
        self.report = replace(found, engine=chosen, refused=self._refused)
        self._new_reports.append(self.report)
        gc.collect()  # what TensorFlow loads is full of cycles
        _LOGGER.info("%s: %s", self.signature.name, self.report)
