"""What Dataflow tells of a job, in lines that a person reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_CHARS = 500

_TRACEBACK = "Traceback (most recent call last):"
_ADDED = "passed through:"  # what follows are lines of Dataflow's own sources
_REQUEST = re.compile(r"\b[A-Z]+ https?://\S+: ")
_AFTERMATH = ("Workflow failed", "work item was attempted", "work item failed", "work item has failed")


def in_one_line(text: str) -> str:
    """Return what a message says; of a traceback, the error that it ends with."""
    said = text.partition(_ADDED)[0]
    before, traceback, after = said.rpartition(_TRACEBACK)
    line = " ".join((_raised(after) if traceback else before + after).split()) or " ".join(text.split())
    return line if len(line) <= MAX_CHARS else f"{line[:MAX_CHARS]}..."


def without_request(text: str) -> str:
    """Take out the request, which Google's library puts before what was answered."""
    return _REQUEST.sub("", text)


def _raised(traceback: str) -> str:
    """Return what follows the frames, which are indented."""
    lines = traceback.strip("\n").splitlines()
    start = next((number for number, line in enumerate(lines) if line and not line[0].isspace()), 0)
    return "\n".join(lines[start:])


def reasons(errors: Sequence[str], at_most: int = 3) -> list[str]:
    """Choose the first errors of a job; those that only say that there were others come last."""
    return sorted(errors, key=lambda error: any(said in error for said in _AFTERMATH))[:at_most]
