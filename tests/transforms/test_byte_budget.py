"""The bound on the bytes that are read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.thread import ThreadPoolExecutor as Pool

import pytest

from transforms.byte_budget import BudgetClosedError, ByteBudget

SECONDS = 10.0


@pytest.fixture
def pool() -> Iterator[Pool]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


class Acquired:
    """A reader in a thread of its own that asks for a share of the budget."""

    def __init__(self, pool: Pool, budget: ByteBudget, size: int, batch: int) -> None:
        self._future: Future[None] = pool.submit(budget.acquire, size, batch)

    def within_seconds(self) -> bool:
        """Wait until it has its share."""
        self._future.result(SECONDS)
        return True

    @property
    def waits(self) -> bool:
        return not wait_for([self._future], timeout=0.05).done


def test_readers_share_the_budget(pool: Pool) -> None:
    budget = ByteBudget(10)
    assert Acquired(pool, budget, 6, batch=1).within_seconds()
    assert Acquired(pool, budget, 4, batch=2).within_seconds()


def test_a_reader_waits_until_enough_is_released(pool: Pool) -> None:
    budget = ByteBudget(10)
    budget.acquire(6, batch=1)
    late = Acquired(pool, budget, 5, batch=2)
    assert late.waits
    budget.release(1)
    assert late.within_seconds()


def test_the_readers_of_the_wanted_batch_never_wait(pool: Pool) -> None:
    budget = ByteBudget(10)
    budget.acquire(10, batch=1)
    second, third = Acquired(pool, budget, 1_000, batch=2), Acquired(pool, budget, 1, batch=3)
    assert second.waits
    budget.want(2)
    assert second.within_seconds()
    assert third.waits
    budget.want(3)
    assert third.within_seconds()


def test_what_is_larger_than_the_budget_passes_when_it_is_wanted(pool: Pool) -> None:
    budget = ByteBudget(1)
    large = Acquired(pool, budget, 1_000, batch=1)
    assert large.waits
    budget.want(1)
    assert large.within_seconds()


def test_a_budget_that_is_closed_sends_home_all_who_wait(pool: Pool) -> None:
    budget = ByteBudget(1)
    waiting = [Acquired(pool, budget, 2, batch) for batch in (1, 2, 3)]
    assert all(reader.waits for reader in waiting)
    budget.close()
    for reader in waiting:
        with pytest.raises(BudgetClosedError):
            reader.within_seconds()
    with pytest.raises(BudgetClosedError):
        budget.acquire(1, batch=0)
