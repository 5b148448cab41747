"""A function and engines of which everything is known, time included."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.errors import ItemError, PredictionError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.engines.base import Call, TensorFlowFunction
from transforms.predictors.functions import Tensors

DOUBLE = Signature(
    "double", (TensorSpec("x", "float32", (None, 2)),), (TensorSpec("y", "float32", (None, 2)),)
)


@dataclass
class Clock:
    """Time that passes when it is spent."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Double:
    """Doubles numbers, and refuses negative ones."""

    clock: Clock = field(default_factory=Clock)
    seconds: float = 1.0
    signature: Signature = DOUBLE
    sizes: list[int] = field(default_factory=list)
    loaded: Any = None

    def load(self) -> None:
        self.loaded = np.zeros(1)

    @property
    def concrete(self) -> Any:
        return self.loaded

    def call(self, inputs: Tensors) -> Tensors:
        self.clock.spend(self.seconds)
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["x"] * np.float32(2)}

    def item_error(self, error: Exception) -> ItemError:
        return PredictionError(str(error))

    def suspects(self, inputs: Tensors) -> Collection[int]:
        return ()


@dataclass
class Stub:
    """An engine that doubles numbers too, with an error and at a price."""

    name: str
    clock: Clock = field(default_factory=Clock)
    seconds: float = 1.0
    error: float = 0.0
    largest_batch: int = 1_000
    conversion_error: Exception | None = None
    sizes: list[int] = field(default_factory=list)
    module: str = "numpy"
    package: str = "numpy"

    def convert(self, function: TensorFlowFunction, batch_size: int) -> Call:
        assert function.concrete is not None
        if self.conversion_error:
            raise self.conversion_error

        def call(inputs: Tensors) -> Tensors:
            self.clock.spend(self.seconds)
            self.sizes.append(len(inputs["x"]))
            if len(inputs["x"]) > self.largest_batch:
                raise ValueError(f"more than {self.largest_batch} rows\nand much else")
            return {"y": inputs["x"] * np.float32(2) + np.float32(self.error)}

        return call


def batch(*rows: float) -> Tensors:
    """Make a batch of rows of two equal numbers."""
    return {"x": np.repeat(np.array(rows, np.float32), 2).reshape(-1, 2)}
