"""What is told of a choice of engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transforms.predictors.engines.base import TENSORFLOW


@dataclass(frozen=True)
class EngineReport:
    """Which engine was chosen, and why; the mappings are by the names of engines.

    Attributes:
        engine: The one that computes.
        batch_size: The size of the batches that were timed.
        speedups: TensorFlow's time by the engine's: 2 for an engine of twice the speed.
        differences: How far the outputs are from TensorFlow's, see `difference`.
        refused: Why the others cannot be used.
    """

    engine: str
    batch_size: int
    speedups: Mapping[str, float]
    differences: Mapping[str, float]
    refused: Mapping[str, str]

    def __str__(self) -> str:
        """Write the report as a line."""
        speeds = [
            f"{name} {speed:.2f} times as fast as {TENSORFLOW} on batches of {self.batch_size} (largest "
            f"difference {self.differences[name]:.1g})"
            for name, speed in self.speedups.items()
        ]
        refused = [f"{name} refused: {reason}" for name, reason in self.refused.items()]
        return "; ".join([f"engine {self.engine}", *speeds, *refused])
