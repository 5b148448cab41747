"""What an engine is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from transforms.predictors.functions import Function, Tensors

TENSORFLOW = "tensorflow"
AUTO = "auto"
ENGINE_CHOICES = (TENSORFLOW, "openvino", "litert", AUTO)

DEFAULT_TOLERANCE = 1e-4
DEFAULT_BATCH_SIZE = 32

Call = Callable[[Tensors], Tensors]
"""Computes the outputs of a batch."""

Clock = Callable[[], float]
"""Tells seconds."""


@dataclass(frozen=True)
class EngineWish:
    """Which engine a user wants, and how well it must do.

    Attributes:
        engine: One of `ENGINE_CHOICES`.
        tolerance: How far its outputs may be from TensorFlow's, see `difference`.
        batch_size: The size of the batches that will come, which it is made for.
    """

    engine: str = TENSORFLOW
    tolerance: float = DEFAULT_TOLERANCE
    batch_size: int = DEFAULT_BATCH_SIZE


class TensorFlowFunction(Function, Protocol):
    """A function that TensorFlow runs, and that can be converted."""

    @property
    def concrete(self) -> Any:
        """TensorFlow's `ConcreteFunction`, once the function is loaded."""


class Engine(Protocol):
    """Something that computes converted TensorFlow functions."""

    @property
    def name(self) -> str:
        """As users call it."""

    @property
    def module(self) -> str:
        """The Python module that it needs."""

    @property
    def package(self) -> str:
        """What to install to have that module."""

    def convert(self, function: TensorFlowFunction, batch_size: int) -> Call:
        """Make of a loaded function what computes the same; it may be called from any thread.

        Args:
            function: The function; it may be freed afterwards.
            batch_size: The usual size of batches; others must work too.

        Raises:
            Exception: The engine cannot compute this function.
        """


def is_installed(engine: Engine) -> bool:
    """Tell whether an engine can be used, without importing what it needs."""
    return importlib.util.find_spec(engine.module) is not None
