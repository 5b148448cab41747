"""Telling calls with made-up inputs from those with real ones.

An engine is judged by the first real batch, and a function cannot see whether a batch is real: the warm-up
says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_MADE_UP = ContextVar("made_up", default=False)


@contextlib.contextmanager
def made_up_inputs() -> Iterator[None]:
    """Say that the calls of this thread, in this context, have made-up inputs."""
    token = _MADE_UP.set(True)
    try:
        yield
    finally:
        _MADE_UP.reset(token)


def inputs_are_made_up() -> bool:
    """Tell whether it was said."""
    return _MADE_UP.get()
