"""What it means that the command ends now, for who has interrupted it, or reads of an error.

How far the command has come is known where the work is done, and told where the process ends.
"""

from __future__ import annotations

from contextvars import ContextVar

NOTHING_STARTED = "nothing was started"
INCOMPLETE = "the output is not complete"
NO_SUMMARY = "the run has ended, but no summary was made"

_now: ContextVar[str] = ContextVar("consequence", default="")


def from_now_on(told: str) -> None:
    """Keep what is to be told if the command ends before somebody says otherwise; nothing, if it is empty."""
    _now.set(told)


def of_ending_now() -> str:
    """Return what was kept last."""
    return _now.get()
