"""Many checks at once: what is told when some fail, some crash, and some take too long."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.dataflow.checklist import Check, NotChecked, run_checks
from pipeline.dataflow.once import Once
from pipeline.dataflow.report import Report

LONG = 60.0
"""Seconds that nothing here takes, on however slow a machine."""
FOR_EVER = 10 * LONG


@pytest.fixture
def waits() -> Iterator[Callable[[], list[str]]]:
    """A check that does not end before the test does."""
    never = threading.Event()

    def wait() -> list[str]:
        never.wait(FOR_EVER)
        return []

    yield wait
    never.set()


@pytest.fixture
def patience_ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """What tells checks that the patience with them has ended.

    The clock is read at the start, and then under the lock that each check needs to tell something.
    """
    ended, readings = threading.Event(), [0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            readings[0] += 1
            if readings[0] > 1:
                ended.set()
            return time.monotonic()

    monkeypatch.setattr("pipeline.dataflow.checklist.time", Clock)
    return ended


def raises(error: Exception) -> Callable[[], list[str]]:
    def fail() -> list[str]:
        raise error

    return fail


def without_seconds(told: str) -> str:
    """Leave out how long was waited, which must have been less than was allowed."""
    (seconds,) = map(int, re.findall(r"within (\d+) s", told))
    assert seconds < LONG
    return re.sub(r"within \d+ s", "within # s", told)


def test_what_is_late_once_something_is_wrong_is_not_checked(waits: Callable[[], list[str]]) -> None:
    checks = [Check("slow", waits), Check("quick", lambda: ["it is wrong"])]
    slow, quick = run_checks(checks, patience=0, limit=LONG)
    assert quick.problems == ("it is wrong",)
    assert slow.problems == ()
    told = "  not checked  slow: not finished within # s, for other checks had failed"
    assert without_seconds(str(slow)) == told


def test_what_is_found_late_ends_the_wait_for_the_rest(
    waits: Callable[[], list[str]], patience_ended: threading.Event
) -> None:
    def fails_late() -> list[str]:
        assert patience_ended.wait(FOR_EVER)
        return ["it is wrong"]

    slow, late = run_checks([Check("slow", waits), Check("late", fails_late)], patience=0, limit=LONG)
    assert (slow.problems, late.problems) == ((), ("it is wrong",))
    assert "for other checks had failed" in without_seconds(slow.not_checked)


def test_what_a_late_check_has_found_by_then_is_told(waits: Callable[[], list[str]]) -> None:
    def finds_and_waits() -> Iterator[str]:
        yield "one thing is wrong"
        yield from waits()

    (outcome,) = run_checks([Check("slow", finds_and_waits)], patience=0, limit=LONG)
    assert outcome.problems == ("one thing is wrong",)
    assert "not finished within # s" in without_seconds(outcome.not_checked)


def test_lateness_alone_is_a_problem_at_the_limit(waits: Callable[[], list[str]]) -> None:
    (slow,) = run_checks([Check("slow", waits)], patience=0, limit=0)
    (told,) = slow.problems
    assert without_seconds(told) == "slow: no answer within # s; is there a way to Google Cloud?"
    assert slow.not_checked == ""


def test_what_was_not_finished_is_among_the_reasons(waits: Callable[[], list[str]]) -> None:
    threads: list[threading.Thread] = []
    noted = threading.Event()

    def cannot() -> list[str]:
        threads.append(threading.current_thread())
        noted.set()
        raise NotChecked("no")

    def fails_after_that() -> list[str]:
        assert noted.wait(FOR_EVER)
        threads[0].join()
        return ["it is wrong"]

    checks = [Check("slow", waits), Check("quick", fails_after_that), Check("left", cannot)]
    report = Report(run_checks(checks, patience=0, limit=LONG), None)
    assert report.problems == ["it is wrong"]
    wrong, late = report.reasons
    assert wrong == "it is wrong"
    assert without_seconds(late) == "slow: not finished within # s, for other checks had failed"


def test_what_is_right_may_take_its_time(patience_ended: threading.Event) -> None:
    def slow() -> list[str]:
        assert patience_ended.wait(FOR_EVER)
        return []

    (outcome,) = run_checks([Check("slow", slow)], patience=0, limit=LONG)
    assert str(outcome) == "  ok           slow"


def test_a_check_that_crashes_is_a_problem_and_one_that_cannot_be_made_is_none() -> None:
    crashed, left = run_checks(
        [
            Check("one", raises(RuntimeError("no disk"))),
            Check("two", raises(NotChecked("nobody is there to ask"))),
        ],
        patience=LONG,
    )
    assert crashed.problems == ("RuntimeError: no disk",)
    assert (left.problems, left.not_checked) == ((), "nobody is there to ask")


def test_what_several_checks_need_is_found_once() -> None:
    found = []

    def find() -> int:
        found.append(threading.current_thread())
        return 7

    needed = Once(find)
    outcomes = run_checks([Check(name, lambda: [str(needed())]) for name in "abc"], patience=LONG)
    assert [outcome.problems for outcome in outcomes] == [("7",)] * 3
    assert len(found) == 1


def test_what_could_not_be_found_is_told_to_each_that_needs_it() -> None:
    needed = Once(raises(NotChecked("nobody knows")))
    outcomes = run_checks([Check(name, needed) for name in "ab"], patience=LONG)
    assert [outcome.not_checked for outcome in outcomes] == ["nobody knows"] * 2
