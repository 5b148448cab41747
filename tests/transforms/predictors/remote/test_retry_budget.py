"""The bound on what is sent again."""

from __future__ import annotations

import pytest

from tests.transforms.predictors.remote.simulated_time import SimulatedTime
from transforms.predictors.remote.retry_budget import RetryBudget


@pytest.fixture
def time() -> SimulatedTime:
    return SimulatedTime()


def tokens(budget: RetryBudget) -> int:
    """Take what there is."""
    count = 0
    while not budget.take():
        count += 1
    return count


def test_it_starts_with_a_small_reserve(time: SimulatedTime) -> None:
    assert tokens(RetryBudget(0.5, time.clock)) == 10


def test_requests_bring_their_share(time: SimulatedTime) -> None:
    budget = RetryBudget(0.25, time.clock)
    tokens(budget)
    for _ in range(12):
        budget.count_request()
    assert tokens(budget) == 3


def test_time_brings_a_token_a_second(time: SimulatedTime) -> None:
    budget = RetryBudget(0.5, time.clock)
    tokens(budget)
    assert budget.take() == 1
    time.sleep(0.75)
    assert budget.take() == 0.25
    time.sleep(0.25)
    assert budget.take() == 0
    assert budget.take() == 1


def test_what_is_missing_is_waited_for_no_longer_than_a_second(time: SimulatedTime) -> None:
    budget = RetryBudget(0.5, time.clock)
    tokens(budget)
    budget.count_request()
    assert budget.take() == 0.5


def test_hours_without_failures_do_not_pay_for_a_storm(time: SimulatedTime) -> None:
    budget = RetryBudget(0.5, time.clock)
    for _ in range(10_000):
        budget.count_request()
    time.sleep(3_600)
    assert tokens(budget) == 50
