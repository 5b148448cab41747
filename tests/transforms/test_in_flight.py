import threading
from concurrent.futures import Future

import pytest

from transforms.in_flight import InFlight


def test_calls_run_at_the_same_time_and_the_first_to_end_is_taken_first() -> None:
    flight: InFlight[str, int] = InFlight(2)
    slow: Future[int] = Future()
    both_started = threading.Barrier(2, timeout=30)

    def wait_for_the_other() -> int:
        both_started.wait()
        return slow.result(timeout=30)

    def end_at_once() -> int:
        both_started.wait()
        return 2

    flight.start(wait_for_the_other, "slow")
    assert not flight.is_full()
    flight.start(end_at_once, "quick")
    assert flight.is_full()
    assert flight.take() == ("quick", 2)
    slow.set_result(1)
    assert flight.take() == ("slow", 1)
    assert not flight
    flight.close()


def test_what_a_call_raises_is_raised_when_it_is_taken() -> None:
    flight: InFlight[str, float] = InFlight(1)
    flight.start(lambda: 1 / 0, "bad")
    with pytest.raises(ZeroDivisionError):
        flight.take()
    assert not flight
    flight.close()


def test_it_is_full_when_its_calls_hold_more_than_they_may() -> None:
    flight: InFlight[str, None] = InFlight(10, max_bytes=100)
    flight.start(lambda: None, "small", 100)
    assert not flight.is_full()
    flight.start(lambda: None, "more", 1)
    assert flight.is_full()
    flight.take()
    assert not flight.is_full()
    flight.close()


def test_one_call_may_hold_more_than_all_may_together() -> None:
    flight: InFlight[str, None] = InFlight(10, max_bytes=100)
    flight.start(lambda: None, "large", 1_000)
    assert flight.is_full()
    assert flight.take() == ("large", None)
    assert not flight.is_full()
    flight.close()


def test_closing_does_not_wait_for_what_is_under_way() -> None:
    flight: InFlight[str, bool] = InFlight(1)
    gate = threading.Event()
    flight.start(lambda: gate.wait(timeout=30), "waiting")
    flight.close()
    assert not flight
    gate.set()
