"""A bound on the bytes that are read ahead."""

from __future__ import annotations

import threading


class BudgetClosedError(Exception):
    """The budget was closed while a reader waited for its share."""


class ByteBudget:
    """Let the readers of later batches wait while too many bytes are held.

    The readers of the batch that is wanted next never wait, however large it is: so the bytes held are at
    most those of one batch and `limit`, and nobody waits for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._wanted = 0
        self._closed = False
        self._changed = threading.Condition()

    def acquire(self, size: int, batch: int) -> None:
        """Wait until `size` more bytes may be held for a batch.

        Raises:
            BudgetClosedError: Nobody wants the bytes any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._may_hold(size, batch))
            if self._closed:
                raise BudgetClosedError
            self._held += size

    def want(self, batch: int) -> None:
        """Tell which batch is wanted next; its readers, and those before it, wait no longer."""
        with self._changed:
            self._wanted = batch
            self._changed.notify_all()

    def release(self, size: int) -> None:
        """Give back bytes that are held no longer."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Send home all who wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _may_hold(self, size: int, batch: int) -> bool:
        return batch <= self._wanted or self._held + size <= self._limit
