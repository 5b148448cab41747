"""Calls that are under way at the same time, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from transforms.predictors.daemon_pool import DaemonPool

Tag = TypeVar("Tag")
Made = TypeVar("Made")


@dataclass(frozen=True)
class _Started(Generic[Tag]):
    tag: Tag
    size: int


class InFlight(Generic[Tag, Made]):
    """Calls that are under way, up to a limit; what they return comes as soon as it is there.

    Used by one thread.

    Args:
        limit: How many calls are under way at most.
        max_bytes: The bytes that they may hold together before the next one is started, whose own come on
            top; None for any number.
    """

    def __init__(self, limit: int, max_bytes: int | None = None) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._pool = DaemonPool(limit, "in-flight")
        self._started: dict[Future[Made], _Started[Tag]] = {}

    def __len__(self) -> int:
        """Return the number of calls whose results can be taken."""
        return len(self._started)

    def start(self, call: Callable[[], Made], tag: Tag, size: int = 0) -> None:
        """Start a call, which holds some bytes; `tag` comes back with its result."""
        self._started[self._pool.submit(call)] = _Started(tag, size)

    def is_full(self) -> bool:
        """Tell whether a result must be taken before the next call is started."""
        return len(self._started) >= self._limit or self._is_heavy()

    def take(self) -> tuple[Tag, Made]:
        """Wait for the call that ends first.

        Raises:
            Exception: What the call raised.
        """
        done, _ = wait(self._started, return_when=FIRST_COMPLETED)
        call = next(iter(done))
        return self._started.pop(call).tag, call.result()

    def close(self) -> None:
        """Start nothing more; what is under way is not waited for, and its results are dropped."""
        self._pool.close()
        self._started.clear()

    def _is_heavy(self) -> bool:
        if self._max_bytes is None:
            return False
        return sum(started.size for started in self._started.values()) > self._max_bytes
