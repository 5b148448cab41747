"""Queues that several threads add to and take from."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

Item = TypeVar("Item")


def take_all(queue: deque[Item]) -> list[Item]:
    """Return what is in a queue, and leave it empty; each item goes to one of those who ask at a time."""
    taken: list[Item] = []
    while True:
        try:
            taken.append(queue.popleft())
        except IndexError:  # its length tells nothing: others take from it as well
            return taken
