"""Threads that nobody has to wait for when the process ends."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Made = TypeVar("Made")
_Tasks = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


class DaemonPool:
    """A pool of threads; used by any number of others.

    Python waits for the threads of a `ThreadPoolExecutor` when it ends, so that one which waits for a server
    keeps a process that has failed, or that was told to stop. It does not wait for these. They end when the
    pool is closed, or dropped.

    Args:
        size: How many calls run at the same time.
        name: What the threads' names begin with.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._tasks: _Tasks = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _end, self._tasks)
        self._end.atexit = False

    def submit(self, call: Callable[[], Made]) -> Future[Made]:
        """Call something in one of the threads, as soon as one is free.

        Raises:
            RuntimeError: The pool is closed.
        """
        future: Future[Made] = Future()
        with self._lock:
            if not self._end.alive:
                raise RuntimeError("the pool is closed")
            self._tasks.put((future, call))
            if not self._idle.acquire(blocking=False) and self._started < self._size:
                self._start()
        return future

    def close(self) -> None:
        """Start nothing more: what has not begun is cancelled, and what has is not waited for."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._started += 1
        name = f"{self._name}-{self._started}"
        threading.Thread(target=_work, args=(self._tasks, self._idle), name=name, daemon=True).start()


def _work(tasks: _Tasks, idle: threading.Semaphore) -> None:
    """Do what is to be done; the pool itself is not held, so that it can be dropped."""
    while task := tasks.get():
        _run(*task)
        del task  # or it is held until the next one comes
        idle.release()
    tasks.put(None)  # for the other threads


def _run(future: Future[Made], call: Callable[[], Made]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future, call  # or the error holds them, and they the error


def _end(tasks: _Tasks) -> None:
    with contextlib.suppress(Empty):
        while task := tasks.get_nowait():
            task[0].cancel()
    tasks.put(None)
