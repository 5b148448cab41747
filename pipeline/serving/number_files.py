"""Numbers in place of files: what a client has prepared itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.errors import ItemError
from transforms.predictors.arrays import ArrayDecoder
from transforms.predictors.base import TensorSpec
from transforms.predictors.feed import ImageDecoder, parse_value
from transforms.predictors.outputs import WRITTEN_AS

_MAGIC = b"\x93NUMPY"  # no image begins so


@dataclass(frozen=True)
class NumbersToo:
    """Take images, and `.npy` files of the numbers that a model makes of them.

    Attributes:
        images: Decodes the images.
        arrays: Reads the numbers.
    """

    images: ImageDecoder
    arrays: ArrayDecoder

    def decode(self, contents: Sequence[bytes]) -> Sequence[np.ndarray[Any, Any] | ItemError]:
        """See `ImageDecoder.decode`."""
        are_numbers = [content.startswith(_MAGIC) for content in contents]
        told = list(zip(contents, are_numbers, strict=True))
        numbers = iter(self.arrays.decode([content for content, is_array in told if is_array]))
        images = iter(self.images.decode([content for content, is_array in told if not is_array]))
        return [next(numbers) if is_array else next(images) for is_array in are_numbers]


def npy_file(value: Any, spec: TensorSpec) -> bytes:
    """Write numbers that came as JSON as the `.npy` file that a model is fed with.

    Raises:
        ValueError: They are none for this input.
    """
    try:
        array = parse_value(value, spec)
    except ValueError as error:
        raise ValueError(f"{spec.name!r} {error}") from error
    file = io.BytesIO()
    np.save(file, array.astype(WRITTEN_AS.get(spec.dtype, array.dtype)), allow_pickle=False)
    return file.getvalue()
