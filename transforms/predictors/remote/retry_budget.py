"""A bound on how much is sent again, so that a server in trouble does not get more requests than usual."""

from __future__ import annotations

import threading
from collections.abc import Callable

_RESERVE = 10.0
_MOST = 50.0
_PER_SECOND = 1.0


class RetryBudget:
    """Lets a share of all requests be sent again, for the whole worker; used by any number of threads.

    Each request brings a part of a token, time brings a token a second, and sending again costs one. What is
    saved is bounded, so that hours without failures do not pay for a storm. The share is the per-client retry
    budget of the SRE book (chapter Handling Overload, "Deciding to Retry",
    https://sre.google/sre-book/handling-overload/); tokens that requests bring, and a least rate for those
    who make few, are as in Finagle's RetryBudget (https://finagle.github.io/blog/2016/02/08/retry-budgets/).
    There, what finds no token fails; here it waits for one.

    Args:
        share: How many times a request may be sent again, on average.
        clock: Tells the time, in seconds.
    """

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        self._share = share
        self._clock = clock
        self._tokens = _RESERVE
        self._counted = clock()
        self._lock = threading.Lock()

    def count_request(self) -> None:
        """Count a request that is sent for the first time."""
        with self._lock:
            self._add(self._share)

    def take(self) -> float:
        """Take a token, and return 0; without one, return the seconds after which to ask again."""
        with self._lock:
            now = self._clock()
            self._add((now - self._counted) * _PER_SECOND)
            self._counted = now
            if self._tokens < 1:
                return (1 - self._tokens) / _PER_SECOND
            self._tokens -= 1
            return 0.0

    def _add(self, tokens: float) -> None:
        self._tokens = min(_MOST, self._tokens + tokens)
