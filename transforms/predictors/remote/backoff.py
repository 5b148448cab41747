"""How long to wait before a request is sent again."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryCallState, wait_combine, wait_exception, wait_exponential
from tenacity.wait import wait_base

from transforms.predictors.remote.wire import CallFailed


def backoff(first_delay: float, max_delay: float, random: Callable[[], float]) -> wait_base:
    """Make the waits: what the server asks for by Retry-After, and exponential backoff with full jitter.

    The jitter comes on top of what the server asks for, so that those whom it has told the same do not come
    back at the same moment.

    Args:
        first_delay: The longest wait before the second try, in seconds; it doubles from try to try.
        max_delay: The longest wait of all, without what the server asks for.
        random: Gives numbers from 0 to 1.
    """
    return wait_combine(wait_exception(asked_to_wait), FullJitter(first_delay, max_delay, random))


def asked_to_wait(error: BaseException) -> float:
    """Return the seconds that the server has asked to wait, by what has failed."""
    return max(0.0, error.retry_after or 0.0) if isinstance(error, CallFailed) else 0.0


class FullJitter(wait_exponential):
    """Wait for a random part of a time that doubles from try to try.

    This is `tenacity.wait_random_exponential` with numbers of one's own, so that tests can be repeated. Of
    the kinds of jitter, the full one makes the fewest requests:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(self, first_delay: float, max_delay: float, random: Callable[[], float]) -> None:
        super().__init__(multiplier=first_delay, max=max_delay)
        self._random = random

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait after the try that has just failed."""
        return self._random() * super().__call__(retry_state)
