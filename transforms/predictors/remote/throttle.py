"""Sending less to a server that refuses most of what it gets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_PAUSE = 0.5


class Throttle:
    """Holds requests back while a server rejects many; shared by all threads of a worker.

    This is the client-side throttling of the SRE book (chapter Handling Overload,
    https://sre.google/sre-book/handling-overload/). Of those who ask, a random part is held back:

        max(0, (requests - multiplier * accepts) / (requests + 1))

    with the requests and accepts of the last two minutes. There, what is held back fails, and counts as a
    request. Here it waits and asks again, so it counts once, when the server has answered: a server that is
    slow is not taken for one that rejects, and waiting does not make the wait longer.

    Args:
        clock: Tells the time, in seconds.
        random: Gives numbers from 0 to 1.
        multiplier: How many requests may be sent for each that is accepted.
        window: The seconds that are looked back on.
        width: The seconds that are counted, and forgotten, together.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        random: Callable[[], float],
        *,
        multiplier: float = 2.0,
        window: float = 120.0,
        width: float = 5.0,
    ) -> None:
        self._clock = clock
        self._random = random
        self._multiplier = multiplier
        self._window = window
        self._width = width
        self._buckets: deque[_Bucket] = deque()
        self._requests = 0
        self._accepts = 0
        self._lock = threading.Lock()

    def pause(self) -> float:
        """Return 0 for a request that may be sent now, or the seconds after which to ask again."""
        if self._random() >= self.rejection_probability:
            return 0.0
        return _PAUSE * (0.5 + self._random())

    @property
    def rejection_probability(self) -> float:
        """The part of the requests that is held back at present, from 0 to 1."""
        with self._lock:
            self._forget(self._clock())
            surplus = self._requests - self._multiplier * self._accepts
            return max(0.0, surplus / (self._requests + 1))

    def record(self, *, accepted: bool) -> None:
        """Count a request that the server has answered, with a refusal for its load or otherwise."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            if not self._buckets or now >= self._buckets[-1].start + self._width:
                self._buckets.append(_Bucket(now))
            self._count(self._buckets[-1], accepted)

    def _count(self, bucket: _Bucket, accepted: bool) -> None:
        bucket.requests += 1
        bucket.accepts += accepted
        self._requests += 1
        self._accepts += accepted

    def _forget(self, now: float) -> None:
        while self._buckets and self._buckets[0].start <= now - self._window:
            bucket = self._buckets.popleft()
            self._requests -= bucket.requests
            self._accepts -= bucket.accepts


@dataclass
class _Bucket:
    start: float
    requests: int = 0
    accepts: int = 0
