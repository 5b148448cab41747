"""Calls that are under way at the same time, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

Tag = TypeVar("Tag")
Made = TypeVar("Made")


class InFlight(Generic[Tag, Made]):
    """Calls, of which at most `limit` are under way; what they return comes as soon as it is there.

    Used by one thread.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="in-flight")
        self._tags: dict[Future[Made], Tag] = {}

    def __len__(self) -> int:
        """Return the number of calls whose results can be taken."""
        return len(self._tags)

    def start(self, call: Callable[[], Made], tag: Tag) -> None:
        """Start a call; `tag` comes back with its result."""
        self._tags[self._pool.submit(call)] = tag

    def is_full(self) -> bool:
        """Tell whether a result must be taken before the next call is started."""
        return len(self._tags) >= self._limit

    def take(self) -> tuple[Tag, Made]:
        """Wait for the call that ends first.

        Raises:
            Exception: What the call raised.
        """
        done, _ = wait(self._tags, return_when=FIRST_COMPLETED)
        call = next(iter(done))
        return self._tags.pop(call), call.result()

    def close(self) -> None:
        """Start nothing more; what is under way is not waited for, and its results are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._tags.clear()
