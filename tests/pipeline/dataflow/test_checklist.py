"""Many checks at once: what is told when some fail, some crash, and some take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.dataflow import checklist
from pipeline.dataflow.checklist import Check, NotChecked, run_checks
from pipeline.dataflow.once import Once
from pipeline.dataflow.report import Report

FOR_EVER = 300.0


@pytest.fixture
def waits() -> Iterator[Callable[[], list[str]]]:
    """A check that does not end before the test does."""
    never = threading.Event()

    def wait() -> list[str]:
        never.wait(FOR_EVER)
        return []

    yield wait
    never.set()


def test_what_is_late_once_something_is_wrong_is_not_checked(waits: Callable[[], list[str]]) -> None:
    start = time.monotonic()
    slow, quick = run_checks([Check("slow", waits), Check("quick", lambda: ["it is wrong"])], patience=0.2)
    assert time.monotonic() - start < checklist.PATIENCE_SECONDS
    assert quick.problems == ("it is wrong",)
    assert slow.problems == ()
    assert str(slow) == "  not checked  slow: not finished within 0 s, for other checks had failed"


def test_what_is_found_late_ends_the_wait_for_the_rest(waits: Callable[[], list[str]]) -> None:
    def fails_late() -> list[str]:
        threading.Event().wait(0.3)
        return ["it is wrong"]

    start = time.monotonic()
    slow, late = run_checks([Check("slow", waits), Check("late", fails_late)], patience=0.1)
    assert time.monotonic() - start < FOR_EVER / 10
    assert (slow.problems, late.problems) == ((), ("it is wrong",))


def test_what_a_late_check_has_found_by_then_is_told(waits: Callable[[], list[str]]) -> None:
    def finds_and_waits() -> Iterator[str]:
        yield "one thing is wrong"
        yield from waits()

    (outcome,) = run_checks([Check("slow", finds_and_waits)], patience=0.1)
    assert outcome.problems == ("one thing is wrong",)
    assert "not finished within 0 s" in outcome.not_checked


def test_lateness_alone_is_a_problem_at_the_limit(waits: Callable[[], list[str]]) -> None:
    slow, right = run_checks([Check("slow", waits), Check("right", list)], patience=0.05, limit=0.2)
    assert slow.problems == ("slow: no answer within 0 s; is there a way to Google Cloud?",)
    assert (right.problems, right.not_checked) == ((), "")


def test_what_was_not_finished_is_among_the_reasons(waits: Callable[[], list[str]]) -> None:
    checks = [
        Check("slow", waits),
        Check("quick", lambda: ["it is wrong"]),
        Check("left", raises(NotChecked("no"))),
    ]
    report = Report(run_checks(checks, patience=0.1), None)
    assert report.problems == ["it is wrong"]
    assert report.reasons == [
        "it is wrong",
        "slow: not finished within 0 s, for other checks had failed",
    ]


def test_what_is_right_may_take_its_time() -> None:
    def slow() -> list[str]:
        threading.Event().wait(0.3)
        return []

    (outcome,) = run_checks([Check("slow", slow)], patience=0.05)
    assert not outcome.problems


def raises(error: Exception) -> Callable[[], list[str]]:
    def fail() -> list[str]:
        raise error

    return fail


def test_a_check_that_crashes_is_a_problem_and_one_that_cannot_be_made_is_none() -> None:
    crashed, left = run_checks(
        [
            Check("one", raises(RuntimeError("no disk"))),
            Check("two", raises(NotChecked("nobody is there to ask"))),
        ]
    )
    assert crashed.problems == ("RuntimeError: no disk",)
    assert (left.problems, left.not_checked) == ((), "nobody is there to ask")


def test_what_several_checks_need_is_found_once() -> None:
    found = []

    def find() -> int:
        found.append(threading.current_thread())
        return 7

    needed = Once(find)
    outcomes = run_checks([Check(name, lambda: [str(needed())]) for name in "abc"])
    assert [outcome.problems for outcome in outcomes] == [("7",)] * 3
    assert len(found) == 1


def test_what_could_not_be_found_is_told_to_each_that_needs_it() -> None:
    needed = Once(raises(NotChecked("nobody knows")))
    outcomes = run_checks([Check(name, needed) for name in "ab"])
    assert [outcome.not_checked for outcome in outcomes] == ["nobody knows"] * 2
