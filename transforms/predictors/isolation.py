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

    def attempt(positions: Sequence[int]) -> None:
        try:
            results = predict([items[position] for position in positions])
        except ContractError:
            raise
        except Exception as error:
            if len(positions) > 1:
                halve(positions)
            else:
                outcomes[positions[0]] = as_failure(error)
        else:
            outcomes.update(zip(positions, results, strict=True))

    def halve(positions: Sequence[int]) -> None:
        middle = len(positions) // 2
        attempt(positions[:middle])
        attempt(positions[middle:])

    everything = range(len(items))
    others = [position for position in everything if position not in suspects]
    if not others or len(others) == len(items) > 1:  # the suspicion tells nothing, and all together failed
        halve(everything) if len(items) > 1 else attempt(everything)
    else:
        attempt(others)
        for position in sorted(suspects):
            attempt([position])
    return [outcomes[position] for position in everything]
