"""Measuring on a machine that others use too: interleaved, several times, as medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Samples:
    """The same thing, measured several times.

    Formatting it with a number's format gives `median (minimum-maximum)`.
    """

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __format__(self, spec: str) -> str:
        low, middle, high = (
            format(value, spec) for value in (min(self.values), self.median, max(self.values))
        )
        return f"{middle} ({low}-{high})"

    def scaled(self, factor: float) -> Samples:
        """Express the samples in another unit."""
        return Samples([value * factor for value in self.values])

    def over(self, others: Samples) -> Samples:
        """Divide each sample by the other one of its round."""
        return Samples([mine / other for mine, other in zip(self.values, others.values, strict=True)])

    def minus(self, others: Samples) -> Samples:
        """Subtract from each sample the other one of its round."""
        return Samples([mine - other for mine, other in zip(self.values, others.values, strict=True)])


def interleave(measures: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Measure things in turn, every other round backwards, so that a slow minute slows all of them alike."""
    results: dict[str, list[Result]] = {name: [] for name in measures}
    for turn in range(rounds):
        for name in measures if turn % 2 == 0 else reversed(list(measures)):
            results[name].append(measures[name]())
    return results
