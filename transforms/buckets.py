"""Counters from which percentiles follow, since Beam's distributions have none.

A value is counted at each bound that it does not exceed, as in a histogram of Prometheus: so that numbers of
many workers can be added up, and percentiles taken of the sums by whoever has them, Cloud Monitoring too.
The bounds are half a doubling apart. A percentile is told as the geometric middle between the bound that it
does not exceed and the one below: so it is wrong by 19% at most (the fourth root of 2).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf, sqrt

ERROR = 0.19
"""How wrong a percentile can be, as a share of it, between the lowest and the highest bound."""

_EXACT_BITS = 4


@dataclass(frozen=True)
class Buckets:
    """Bounds that are half a doubling apart, and one above all.

    Attributes:
        least: The power of two that is the lowest bound.
        most: The power of two that is the highest bound.
    """

    least: int
    most: int

    @cached_property
    def bounds(self) -> tuple[float, ...]:
        """The bounds, upwards; infinity is the last."""
        return (*(2 ** (half / 2) for half in range(2 * self.least, 2 * self.most + 1)), inf)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """How each bound is written."""
        return tuple(_written(bound) for bound in self.bounds)

    def count(self, values: Sequence[float]) -> Iterator[tuple[str, int]]:
        """Tell, for each bound that does not lie below all values, how many do not exceed it.

        The bound below these comes with 0: as the lower end that `histogram_quantile` interpolates from.
        """
        if not values:
            return
        ordered = sorted(values)
        first = bisect_left(self.bounds, ordered[0])
        for place in range(max(first - 1, 0), len(self.bounds)):
            yield self.names[place], bisect_right(ordered, self.bounds[place])

    def percentile(self, counts: Mapping[str, int], share: float) -> float | None:
        """Return what a share of the values does not exceed; see the module for how exactly.

        Args:
            counts: What was counted, by the names of the bounds.
            share: 0.95 for the 95th percentile.

        Returns:
            None without values; the highest bound, where the percentile lies above it.
        """
        totals = [counts.get(name, 0) for name in self.names]
        if not totals[-1]:
            return None
        place = bisect_left(totals, ceil(share * totals[-1]))
        if self.bounds[place] == inf:
            return self.bounds[-2]
        return self.bounds[place] / sqrt(sqrt(2))


PREDICT_MSEC = Buckets(-1, 19)
"""From half a millisecond to nine minutes."""

ARRIVAL_MSEC = Buckets(6, 26)
"""From 64 milliseconds to 19 hours."""


def rounded_size(size: int) -> int:
    """Round the size of a batch, so that there are few sizes: to its four highest bits."""
    shift = max(size.bit_length() - _EXACT_BITS, 0)
    half = (1 << shift) >> 1
    return (size + half) >> shift << shift


def _written(bound: float) -> str:
    return "inf" if bound == inf else f"{float(f'{bound:.4g}'):.15g}"
