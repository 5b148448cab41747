"""Finding the items that make a batch fail."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Sequence

import pytest

from transforms.errors import ContractError
from transforms.predictors.isolation import isolate

BATCH = list(range(32))


class Doubler:
    """Double numbers; refuse a batch that holds a bad one. Remembers its calls."""

    def __init__(self, *bad: int) -> None:
        self._bad = set(bad)
        self.calls: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        if bad := self._bad.intersection(numbers):
            raise ValueError(f"bad: {sorted(bad)}")
        return [2 * number for number in numbers]


def outcomes(predict: Doubler, items: Sequence[int], suspects: Sequence[int] = ()) -> list[int | str]:
    found = isolate(predict, items, as_failure=lambda error: error, suspects=suspects)
    return [outcome if isinstance(outcome, int) else str(outcome) for outcome in found]


def expected(items: Sequence[int], *bad: int) -> list[int | str]:
    return [f"bad: [{number}]" if number in bad else 2 * number for number in items]


SUSPICIONS: list[tuple[int, ...]] = [(), (5,), (0, 31), tuple(range(16)), tuple(BATCH)]
BADS: list[tuple[int, ...]] = [(), (5,), (0,), (31,), (0, 31), (5, 6, 7, 20), tuple(range(8)), tuple(BATCH)]


@pytest.mark.parametrize("suspects", SUSPICIONS, ids=str)
@pytest.mark.parametrize("bad", BADS, ids=str)
def test_each_bad_item_costs_only_itself_whoever_is_suspected(
    bad: tuple[int, ...], suspects: tuple[int, ...]
) -> None:
    assert outcomes(Doubler(*bad), BATCH, suspects) == expected(BATCH, *bad)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 33])
def test_batches_of_any_size_keep_their_order(size: int) -> None:
    items = list(range(size))
    for bad in items:
        assert outcomes(Doubler(bad), items) == expected(items, bad)
        assert outcomes(Doubler(bad), items, suspects=[bad]) == expected(items, bad)


def test_one_bad_item_costs_few_calls() -> None:
    for bad in BATCH:
        predict = Doubler(bad)
        outcomes(predict, BATCH)
        assert len(predict.calls) == 2 * math.log2(len(BATCH))


def test_a_suspect_that_is_to_blame_costs_two_calls() -> None:
    predict = Doubler(5)
    outcomes(predict, BATCH, suspects=[5])
    assert predict.calls == [[number for number in BATCH if number != 5], [5]]


def test_a_batch_of_bad_items_only_costs_less_than_two_calls_an_item() -> None:
    predict = Doubler(*BATCH)
    outcomes(predict, BATCH, suspects=BATCH)
    assert len(predict.calls) < 2 * len(BATCH)


def test_the_whole_batch_is_not_tried_again() -> None:
    for suspects in SUSPICIONS:
        predict = Doubler(5)
        outcomes(predict, BATCH, suspects)
        assert BATCH not in predict.calls


def test_an_empty_batch_has_no_outcomes() -> None:
    assert outcomes(Doubler(), []) == []


def test_a_broken_promise_is_not_an_items_fault() -> None:
    def predict(numbers: Sequence[int]) -> list[int]:
        raise ContractError("too few")

    with pytest.raises(ContractError, match="too few"):
        isolate(predict, BATCH, as_failure=lambda error: error)


def test_results_of_another_number_are_not_accepted() -> None:
    with pytest.raises(ValueError, match="zip"):
        isolate(lambda numbers: [0], BATCH, as_failure=lambda error: error)


def test_an_interruption_is_not_an_items_fault() -> None:
    def predict(numbers: Sequence[int]) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isolate(predict, BATCH, as_failure=lambda error: error)


def test_what_predicted_is_freed_with_its_last_user() -> None:
    predict = Doubler(5, 6)
    found = isolate(predict, BATCH, as_failure=lambda error: error)
    reference = weakref.ref(predict)
    gc.disable()  # nothing else may free it
    try:
        del predict, found
        assert reference() is None
    finally:
        gc.enable()
