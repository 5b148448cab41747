"""Made-up items to warm a model up with."""

from __future__ import annotations

import base64
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from transforms.predictors.base import TensorSpec
from transforms.predictors.feed import Feed, Values

_DIMENSION = 8  # where a shape leaves it open

# A gray PNG of 8 x 8 pixels: something that most models of images accept.
_IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVQImWNsYIAAJgaKGAAmCACQsdGojAAAAABJRU5ErkJggg=="
)


@contextlib.contextmanager
def sample_batch(feed: Feed, size: int) -> Iterator[Sequence[Values]]:
    """Make what a batch of items would give to each input; the items' files exist in the context only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sample.png")
        path.write_bytes(_IMAGE)
        items = {"names": str(path), "bytes": _IMAGE}
        item = items[feed.kind] if feed.kind in items else _zeros(feed.item)
        attributes = {spec.name: _zeros(spec) for spec in feed.attributes}
        yield [{feed.item.name: item, **attributes}] * size


def _zeros(spec: TensorSpec) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    shape = tuple(size or _DIMENSION for size in spec.item_shape or ())
    return np.full(shape, "", object) if spec.dtype == "string" else np.zeros(shape, spec.dtype)
