"""Running many checks at once: what fails is told in seconds, what is right may take its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

PATIENCE_SECONDS = 7.0
LIMIT_SECONDS = 120.0


class NotChecked(Exception):
    """A check that cannot be made here; the message says why, or what it leaves to the reader."""


@dataclass(frozen=True)
class Check:
    """Something to look at before the start.

    Attributes:
        name: What is looked at.
        problems: Tells what is wrong with it; may raise `NotChecked`, or anything else that it meets.
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
    """

    name: str
    problems: Sequence[str] = ()
    not_checked: str = ""

    def __str__(self) -> str:
        """Write it as lines of a report."""
        if self.problems:
            return "\n".join(f"  wrong        {self.name}: {problem}" for problem in self.problems)
        return (
            f"  not checked  {self.name}: {self.not_checked}"
            if self.not_checked
            else f"  ok           {self.name}"
        )


def run_checks(
    checks: Sequence[Check], patience: float = PATIENCE_SECONDS, limit: float = LIMIT_SECONDS
) -> list[Outcome]:
    """Run checks, each in a thread of its own.

    Args:
        checks: In the order in which their outcomes are returned.
        patience: The seconds after which no more is waited for, if something is wrong by then.
        limit: The seconds after which no more is waited for.
    """
    found: dict[str, Outcome] = {}
    changed = threading.Condition()

    def run(check: Check) -> None:
        outcome = _run(check)
        with changed:
            found[check.name] = outcome
            changed.notify_all()

    for check in checks:  # daemons, for the process must be able to end before them
        threading.Thread(target=run, args=(check,), daemon=True).start()
    start = time.monotonic()
    with changed:
        changed.wait_for(lambda: len(found) == len(checks), patience)
        if not any(outcome.problems for outcome in found.values()):
            left = limit - (time.monotonic() - start)
            changed.wait_for(lambda: len(found) == len(checks) or _is_wrong(found), left)
        return [found.get(check.name) or _unfinished(check.name, start) for check in checks]


def _run(check: Check) -> Outcome:
    try:
        return Outcome(check.name, tuple(check.problems()))
    except NotChecked as reason:
        return Outcome(check.name, not_checked=str(reason))
    except Exception as error:  # it must not be lost with its thread
        return Outcome(check.name, (f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",))


def _is_wrong(found: dict[str, Outcome]) -> bool:
    return any(outcome.problems for outcome in found.values())


def _unfinished(name: str, start: float) -> Outcome:
    seconds = time.monotonic() - start
    return Outcome(name, (f"{name}: no answer within {seconds:.0f} s; is there a way to Google Cloud?",))
