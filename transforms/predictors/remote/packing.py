"""Which items go into one request."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.predictors.remote.wire import EncodedItem


def pack(items: Sequence[EncodedItem], room: int, max_items: int | None) -> list[list[int]]:
    """Put items into as few requests as their order allows.

    Args:
        items: None of them larger than `room`.
        room: The most bytes that the items of one request may take.
        max_items: The most items in a request; None for any number.

    Returns:
        The positions of the items of each request; their values that are arrays have equal shapes.
    """
    requests: list[list[int]] = []
    free = 0
    for position, item in enumerate(items):
        current = requests[-1] if requests else []
        fits = current and item.size <= free and len(current) != max_items
        if not fits or items[current[0]].shapes != item.shapes:
            requests.append(current := [])
            free = room
        current.append(position)
        free -= item.size
    return requests
