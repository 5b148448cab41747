"""What several checks need, and one of them finds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Once(Generic[Value]):
    """A value that is looked for by the first thread that asks; those that ask meanwhile wait for it."""

    def __init__(self, find: Callable[[], Value]) -> None:
        """Keep how it is found; what that raises is raised to each that asks."""
        self._find = find
        self._found: Future[Value] = Future()
        self._lock = threading.Lock()

    def __call__(self) -> Value:
        """Return it."""
        with self._lock:
            if not self._found.done():
                try:
                    self._found.set_result(self._find())
                except Exception as error:
                    self._found.set_exception(error)
        return self._found.result()
