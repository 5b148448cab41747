"""Threads that nobody has to wait for."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, Future, wait

import pytest

from transforms.predictors.daemon_pool import DaemonPool

SECONDS = 30


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}-")]


def test_calls_return_and_raise() -> None:
    pool = DaemonPool(2, "both")
    assert pool.submit(lambda: 1).result(SECONDS) == 1
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(SECONDS)
    assert pool.submit(lambda: 2).result(SECONDS) == 2
    pool.close()


def test_as_many_run_at_the_same_time_as_are_allowed_and_all_run() -> None:
    pool = DaemonPool(3, "three")
    together = threading.Barrier(3)
    calls = [pool.submit(lambda: together.wait(SECONDS)) for _ in range(30)]
    assert sorted(call.result(SECONDS) for call in calls) == sorted([0, 1, 2] * 10)
    assert len(threads_of("three")) == 3
    pool.close()


def test_threads_are_used_again() -> None:
    pool = DaemonPool(100, "again")
    for _ in range(20):
        pool.submit(lambda: None).result(SECONDS)
    assert len(threads_of("again")) < 10  # a thread is free a little later than its call is over
    pool.close()


def test_any_number_of_threads_may_use_it() -> None:
    pool, outer = DaemonPool(4, "inner"), DaemonPool(16, "outer")
    calls = [outer.submit(lambda: pool.submit(lambda: 1).result(SECONDS)) for _ in range(500)]
    assert sum(call.result(SECONDS) for call in calls) == 500
    pool.close()
    outer.close()


def test_when_it_is_closed_what_has_not_begun_never_does() -> None:
    pool, gate, begun = DaemonPool(1, "closed"), threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return gate.wait(SECONDS)

    first, second = pool.submit(hold), pool.submit(lambda: True)
    assert begun.wait(SECONDS)
    (thread,) = threads_of("closed")
    pool.close()
    with pytest.raises(CancelledError):
        second.result(SECONDS)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(lambda: True)
    gate.set()
    assert first.result(SECONDS)
    thread.join(SECONDS)
    assert not thread.is_alive()
    pool.close()  # once more


def test_what_is_cancelled_is_not_called() -> None:
    pool, gate = DaemonPool(1, "cancelled"), threading.Event()
    pool.submit(lambda: gate.wait(SECONDS))
    called: list[int] = []
    second = pool.submit(lambda: called.append(1))
    assert second.cancel()
    gate.set()
    pool.submit(lambda: None).result(SECONDS)
    assert not called
    pool.close()


def test_when_it_is_dropped_its_threads_end() -> None:
    pool = DaemonPool(2, "dropped")
    wait([pool.submit(lambda: None), pool.submit(lambda: None)], SECONDS)
    threads = threads_of("dropped")
    assert threads
    del pool
    gc.collect()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_what_is_over_is_not_held() -> None:
    class Thing:
        pass

    def make(call: Thing) -> Thing:
        return Thing()

    pool, taken = DaemonPool(1, "held"), Thing()
    future: Future[Thing] = pool.submit(lambda thing=taken: make(thing))  # type: ignore[misc]
    gone = weakref.ref(taken), weakref.ref(future.result(SECONDS))
    del future, taken
    deadline = time.monotonic() + SECONDS
    while any(reference() is not None for reference in gone):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pool.close()


def test_a_process_ends_while_its_threads_wait() -> None:
    program = (
        "import threading\n"
        "from transforms.predictors.daemon_pool import DaemonPool\n"
        "pool, begun = DaemonPool(1, 'waiting'), threading.Event()\n"
        "pool.submit(lambda: (begun.set(), threading.Event().wait()))\n"
        "begun.wait()\n"
        "print('the end')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=True
    )
    assert (ended.stdout, ended.stderr) == ("the end\n", "")
