"""Finding the items that make a batch fail, so that they cost only themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from transforms.errors import ContractError

Item = TypeVar("Item")
Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=BaseException)


def isolate(
    predict: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    as_failure: Callable[[Exception], Failure],
    suspects: Collection[int] = (),
) -> list[Result | Failure]:
    """Predict on the items of a batch that failed, at the price of few calls.

    The suspects are called one by one and the others together; whatever still fails is halved until the
    items to blame stand alone. Without suspects, one bad item among n costs about 2 log2(n) calls.

    Args:
        predict: Called with some of the items; raises when one of them is bad.
        items: The batch.
        as_failure: Makes the outcome of an item from what its own call raised.
        suspects: The positions of items that are likely to be bad.

    Returns:
        One outcome for each item, in order.
    """
    outcomes: dict[int, Result | Failure] = {}
    pending = _first_groups(len(items), suspects)
    while pending:
        positions = pending.pop()
        try:
            results = predict([items[position] for position in positions])
        except ContractError:
            raise
        except Exception as error:
            if len(positions) > 1:
                pending += _halves(positions)
            else:
                outcomes[positions[0]] = as_failure(error)
        else:
            outcomes.update(zip(positions, results, strict=True))
    return [outcomes.pop(position) for position in range(len(items))]


def _first_groups(count: int, suspects: Collection[int]) -> list[Sequence[int]]:
    """Return what to call first, the last first."""
    others = [position for position in range(count) if position not in suspects]
    if not others or len(others) == count > 1:  # the suspicion tells nothing, and all together failed
        return _halves(range(count)) if count > 1 else [range(count)]
    return [*([position] for position in sorted(suspects, reverse=True)), others]


def _halves(positions: Sequence[int]) -> list[Sequence[int]]:
    middle = len(positions) // 2
    return [positions[middle:], positions[:middle]]
