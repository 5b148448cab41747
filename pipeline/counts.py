"""The numbers that a runner kept, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from apache_beam.metrics.metric import MetricsFilter

from transforms.buckets import Buckets
from transforms.metric_table import NAMESPACE

Number = TypeVar("Number", int, float)

PERCENTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
"""The shares of values that percentiles do not fall below, by their names."""


@dataclass(frozen=True)
class Counts:
    """The numbers that a runner kept, by the names of `transforms.metric_table`."""

    counters: dict[str, int]
    slowest_msec: dict[str, int]
    means: dict[str, float]

    @classmethod
    def of(cls, result: Any) -> Counts:
        """Ask a runner's result for its numbers."""
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
        counters: dict[str, int] = {}
        for counter in found["counters"]:
            name = counter.key.metric.name
            counters[name] = counters.get(name, 0) + counter.result
        slowest: dict[str, int] = {}
        means: dict[str, float] = {}
        for distribution in found["distributions"]:  # one for each step that counts under the name
            name = distribution.key.metric.name
            slowest[name] = max(slowest.get(name, 0), distribution.result.max)
            means[name] = distribution.result.mean
        return cls(counters, slowest, means)

    def get(self, name: str) -> int:
        """Return a counter; 0 when nothing was counted."""
        return self.counters.get(name, 0)

    def below(self, name: str) -> dict[str, int]:
        """Return the counters whose names begin with `name/`, by the rest of their names."""
        return below(name, self.counters)


def below(name: str, values: Mapping[str, Number]) -> dict[str, Number]:
    """Return the values whose names begin with `name/`, by the rest of their names."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def share_of(part: int, whole: int) -> float | None:
    """Return a part as a share of the whole; None without a whole."""
    return round(part / whole, 3) if whole else None


def percentiles(kept: Buckets, counts: Mapping[str, int]) -> dict[str, float]:
    """Return percentiles in seconds of what was counted in milliseconds; none without values."""
    found = {name: kept.percentile(counts, share) for name, share in PERCENTILES.items()}
    return {name: float(f"{msec / 1_000:.3g}") for name, msec in found.items() if msec is not None}


def median(counts: dict[int, int]) -> float | None:
    """Return the median of values, given how often each occurs; None without values."""
    total = sum(counts.values())
    ordered = sorted(counts.items())

    def at(position: int) -> int:
        for value, count in ordered:
            position -= count
            if position < 0:
                return value
        raise IndexError

    return (at((total - 1) // 2) + at(total // 2)) / 2 if total else None
