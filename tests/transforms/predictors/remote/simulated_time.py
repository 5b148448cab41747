"""Time that passes at once, for threads that wait for each other in an order that is always the same."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any


class SimulatedTime:
    """A clock, and a `sleep` by which it advances.

    Of the jobs that are run together one runs at a time, until it sleeps; the next is the one that wakes up
    first. So threads behave as if each had a processor of its own, and computing took no time.
    """

    def __init__(self) -> None:
        self.now = 1_000.0
        self._asleep: list[tuple[float, int, threading.Semaphore]] = []
        self._numbers = itertools.count()
        self._idle = threading.Semaphore(0)
        self._turns = threading.local()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        turn = getattr(self._turns, "mine", None)
        if turn is None:  # nobody else is there
            self.now += seconds
            return
        self._wake_up_in(seconds, turn)
        self._idle.release()
        turn.acquire()

    def run(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run jobs together, from this moment on, and return what they return."""
        results: list[Future[Any]] = []
        threads = []
        for job in jobs:
            turn, result = threading.Semaphore(0), Future[Any]()
            self._wake_up_in(0, turn)
            threads.append(threading.Thread(target=self._run, args=(job, turn, result), daemon=True))
            results.append(result)
        for thread in threads:
            thread.start()
        while self._asleep:
            self.now, _, turn = heapq.heappop(self._asleep)
            turn.release()
            self._idle.acquire()
        for thread in threads:
            thread.join()
        return [result.result() for result in results]

    def _wake_up_in(self, seconds: float, turn: threading.Semaphore) -> None:
        heapq.heappush(self._asleep, (self.now + seconds, next(self._numbers), turn))

    def _run(self, job: Callable[[], Any], turn: threading.Semaphore, result: Future[Any]) -> None:
        self._turns.mine = turn
        turn.acquire()
        try:
            result.set_result(job())
        except BaseException as error:
            result.set_exception(error)
        finally:
            self._idle.release()
