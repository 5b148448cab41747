"""Counters from which percentiles follow."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil, inf

import pytest

from transforms.buckets import ARRIVAL_MSEC, ERROR, PREDICT_MSEC, Buckets, rounded_size

BOTH = pytest.mark.parametrize("buckets", [PREDICT_MSEC, ARRIVAL_MSEC])


def percentile(buckets: Buckets, values: list[float], share: float) -> float:
    found = buckets.percentile(dict(buckets.count(values)), share)
    assert found is not None
    return found


@BOTH
def test_a_percentile_is_wrong_by_no_more_than_is_told(buckets: Buckets) -> None:
    chance = random.Random(0)
    for size in (1, 2, 10, 1_000):
        values = [chance.uniform(buckets.bounds[0], buckets.bounds[-2]) for _ in range(size)]
        for share in (0.01, 0.5, 0.95, 0.99, 1):
            true = sorted(values)[ceil(share * size) - 1]
            assert percentile(buckets, values, share) == pytest.approx(true, rel=ERROR)


@BOTH
def test_a_value_at_a_bound_does_not_exceed_it(buckets: Buckets) -> None:
    for place, bound in enumerate(buckets.bounds[:-1]):
        assert dict(buckets.count([bound]))[buckets.names[place]] == 1


@BOTH
def test_the_bound_below_all_values_is_there_and_no_lower_one(buckets: Buckets) -> None:
    for place in range(1, len(buckets.bounds) - 1):
        counts = list(buckets.count([buckets.bounds[place - 1] * 1.01, buckets.bounds[-2]]))
        assert counts[0] == (buckets.names[place - 1], 0)
        assert counts[-1] == ("inf", 2)


@BOTH
def test_what_lies_outside_of_the_bounds_is_told_as_the_outermost(buckets: Buckets) -> None:
    lowest, highest = buckets.bounds[0], buckets.bounds[-2]
    assert lowest / 1.2 < percentile(buckets, [0.0], 0.5) <= lowest
    assert percentile(buckets, [-5.0], 0.5) <= lowest  # of clocks that differ
    assert percentile(buckets, [highest * 10], 0.5) == highest
    assert list(buckets.count([highest * 10])) == [(buckets.names[-2], 0), ("inf", 1)]


@BOTH
def test_counts_of_several_calls_add_up_to_those_of_one(buckets: Buckets) -> None:
    chance = random.Random(2)
    values = [chance.uniform(1, 1e6) for _ in range(100)]
    added: Counter[str] = Counter()
    for value in values:
        added.update(dict(buckets.count([value])))
    assert dict(added) == dict(buckets.count(values))
    assert not list(buckets.count([]))


@BOTH
def test_the_names_are_the_bounds_and_few(buckets: Buckets) -> None:
    assert len(buckets.names) == len(set(buckets.names)) == 42
    for name, bound in zip(buckets.names, buckets.bounds, strict=True):
        assert float(name) == pytest.approx(bound, rel=0.001) or bound == inf
        assert "e" not in name


def test_sizes_of_batches_are_few_and_hardly_wrong() -> None:
    assert [rounded_size(size) for size in range(17)] == list(range(17))
    for size in range(1, 5_000):
        assert rounded_size(size) == pytest.approx(size, rel=1 / 16)
    assert len({rounded_size(size) for size in range(1, 1_025)}) == 64
    assert all(rounded_size(1 << power) == 1 << power for power in range(12))
