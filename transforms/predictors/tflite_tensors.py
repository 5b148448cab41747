"""The inputs and outputs of TensorFlow Lite models: as users see them, and as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.errors import ModelError
from transforms.predictors.base import TensorSpec

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a model: as users see it, and as it is stored.

    Attributes:
        spec: As users see it; what is quantized is float32 to them.
        stored: The dtype in the model.
        scale: What a step of the stored whole numbers is worth; 0 where nothing is quantized.
        zero_point: The whole number that stands for 0.
        rows: The size of the batch that the model was made for; None for any.
    """

    spec: TensorSpec
    stored: str
    scale: float
    zero_point: int
    rows: int | None

    @classmethod
    def of(cls, name: str, details: Mapping[str, Any]) -> Tensor:
        """Read what LiteRT tells of a tensor.

        Raises:
            ModelError: It is quantized in a way that inputs and outputs never are.
        """
        stored = np.dtype(details["dtype"])
        dtype = "string" if stored.kind == "S" else stored.name
        shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
        scale, zero_point = _quantization(name, details["quantization_parameters"])
        seen = TensorSpec(name, "float32" if scale else dtype, (None, *shape[1:]) if shape else ())
        return cls(seen, dtype, scale, zero_point, shape[0] if shape else None)

    def store(self, values: Array) -> Array:
        """Make of what users give what the model takes.

        Raises:
            ValueError: The values are not of the input's shape, or cannot be quantized.
        """
        if not self.spec.accepts(values.shape):  # LiteRT takes any, and computes nonsense
            raise ValueError(f"the model takes {self.spec}; got {values.dtype} {list(values.shape)}")
        if self.stored == "string":
            return np.asarray(np.frompyfunc(_encoded, 1, 1)(values), object)
        if not self.scale:
            return values
        if np.isnan(values).any():
            raise ValueError(f"the model takes {self.spec} in whole numbers, which have no NaN")
        limits = np.iinfo(self.stored)
        steps = np.round(values / np.float32(self.scale)) + self.zero_point
        stored: Array = np.clip(steps, limits.min, limits.max).astype(self.stored)
        return stored

    def seen(self, values: Array) -> Array:
        """Make of what the model returns what users get."""
        if not self.scale:
            return values
        steps = values.astype(np.float32) - np.float32(self.zero_point)
        seen: Array = steps * np.float32(self.scale)
        return seen


def _quantization(name: str, parameters: Mapping[str, Any]) -> tuple[float, int]:
    scales = parameters["scales"]
    if len(scales) > 1:
        raise ModelError(f"tensor {name!r} has {len(scales)} scales; an input or an output has one")
    return (float(scales[0]), int(parameters["zero_points"][0])) if len(scales) else (0.0, 0)


def _encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
