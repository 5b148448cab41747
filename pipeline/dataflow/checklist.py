"""Running many checks at once: what fails is told in seconds, what is right may take its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

PATIENCE_SECONDS = 6.0
LIMIT_SECONDS = 120.0


class NotChecked(Exception):
    """A check that cannot be made here; the message says why, or what it leaves to the reader."""


@dataclass(frozen=True)
class Check:
    """Something to look at before the start.

    Attributes:
        name: What is looked at.
        problems: Tells what is wrong with it, one by one; may raise `NotChecked`, or anything else that it
            meets.
    """

    name: str
    problems: Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Outcome:
    """What a check has found.

    Attributes:
        name: What was looked at.
        problems: What is wrong with it.
        not_checked: Why it was not looked at, or not to the end; empty if it was.
        unfinished: Whether that is because it took too long.
    """

    name: str
    problems: Sequence[str] = ()
    not_checked: str = ""
    unfinished: bool = False

    def __str__(self) -> str:
        """Write it as lines of a report."""
        lines = [f"  wrong        {self.name}: {problem}" for problem in self.problems]
        lines += [f"  not checked  {self.name}: {self.not_checked}"] if self.not_checked else ()
        return "\n".join(lines or [f"  ok           {self.name}"])


def run_checks(
    checks: Sequence[Check], patience: float = PATIENCE_SECONDS, limit: float = LIMIT_SECONDS
) -> list[Outcome]:
    """Run checks, each in a thread of its own.

    Args:
        checks: In the order in which their outcomes are returned.
        patience: The seconds after which no more is waited for, if something is wrong by then.
        limit: The seconds after which no more is waited for.
    """
    changed = threading.Condition()
    running = [_Running(check, changed) for check in checks]
    start = time.monotonic()
    for each in running:  # daemons, for the process must be able to end before them
        threading.Thread(target=each.run, daemon=True).start()

    def done() -> bool:
        return all(each.done for each in running)

    def wrong() -> bool:
        return any(each.problems for each in running)

    with changed:
        changed.wait_for(done, patience)
        changed.wait_for(lambda: done() or wrong(), limit - (time.monotonic() - start))
        seconds, others_failed = time.monotonic() - start, wrong()
        return [each.outcome(seconds, others_failed) for each in running]


class _Running:
    """A check, and what it has found so far."""

    def __init__(self, check: Check, changed: threading.Condition) -> None:
        self.problems: list[str] = []
        self.done = False
        self._check, self._changed, self._not_checked = check, changed, ""

    def run(self) -> None:
        try:
            for problem in self._check.problems():
                self._tell(problem)
        except NotChecked as reason:
            self._not_checked = str(reason)
        except Exception as error:  # it must not be lost with its thread
            self._tell(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        with self._changed:
            self.done = True
            self._changed.notify_all()

    def _tell(self, problem: str) -> None:
        with self._changed:
            self.problems.append(problem)
            self._changed.notify_all()

    def outcome(self, seconds: float, others_failed: bool) -> Outcome:
        """Tell what was found after so many seconds; what nothing else stops has to be told as a problem."""
        name, problems = self._check.name, tuple(self.problems)
        if self.done:
            return Outcome(name, problems, self._not_checked)
        if others_failed:
            late = f"not finished within {seconds:.0f} s, for other checks had failed"
            return Outcome(name, problems, late, unfinished=True)
        silent = f"{name}: no answer within {seconds:.0f} s; is there a way to Google Cloud?"
        return Outcome(name, (silent,))
