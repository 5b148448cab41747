"""Made-up items to warm a model up with."""

from __future__ import annotations

import base64
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transforms.errors import ItemError
from transforms.predictors.arrays import numpy_dtype
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
        attributes = {spec.name: sample_item(spec) for spec in feed.attributes}
        yield [{feed.item.name: _item(feed, str(path)), **attributes}] * size


def sample_item(spec: TensorSpec) -> np.ndarray[Any, Any]:
    """Make zeros, or empty strings, of the shape of one item; dimensions that are open are small."""
    shape = tuple(size or _DIMENSION for size in spec.item_shape or ())
    return np.full(shape, "", object) if spec.dtype == "string" else np.zeros(shape, numpy_dtype(spec.dtype))


def _item(feed: Feed, path: str) -> Any:
    if feed.kind == "names":
        return path
    if feed.kind == "bytes":
        return _IMAGE
    if feed.kind == "images" and feed.decoder is not None:  # it knows the size that batches will have
        image = feed.decoder.decode([_IMAGE])[0]
        if not isinstance(image, ItemError):
            return image
    return sample_item(feed.item)
