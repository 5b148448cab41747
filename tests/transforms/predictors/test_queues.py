"""Queues that several threads take from."""

from __future__ import annotations

from collections import deque

from transforms.predictors.queues import take_all


class Contended(deque[int]):
    """A queue whose last item goes to another thread."""

    def popleft(self) -> int:
        item = super().popleft()
        if len(self) == 1:
            self.clear()
        return item


def test_a_queue_is_emptied_in_order() -> None:
    queue = deque([1, 2, 3])
    assert (take_all(queue), take_all(queue), list(queue)) == ([1, 2, 3], [], [])


def test_what_another_thread_takes_meanwhile_is_its_own() -> None:
    assert take_all(Contended([1, 2, 3])) == [1, 2]
