"""A signature in the words of the V2 protocol, by which a client knows what it will get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.feed import Feed
from transforms.predictors.outputs import WRITTEN_AS
from transforms.predictors.remote.kserve import DATATYPES

Tensor = dict[str, Any]

ANY_RANK: tuple[int, ...] = ()
"""The shape of a tensor whose rank is unknown; there are no others without a dimension."""


def input_types(feed: Feed) -> list[Tensor]:
    """Describe what an instance may hold.

    The item of a model of images is told as bytes: the server decodes the files, and prepares them as it was
    told to. Inputs that have a value of their own are left out.
    """
    item = feed.item if feed.kind == "arrays" else TensorSpec(feed.item.name, "string", (None,))
    return [_tensor(spec.name, spec.dtype, spec.shape) for spec in (item, *feed.attributes)]


def output_types(signature: Signature) -> list[Tensor]:
    """Describe what a prediction holds."""
    return [
        _tensor(spec.name, WRITTEN_AS.get(spec.dtype, spec.dtype), spec.shape) for spec in signature.outputs
    ]


def _tensor(name: str, dtype: str, shape: Sequence[int | None] | None) -> Tensor:
    sizes = ANY_RANK if shape is None else [-1 if size is None else size for size in shape]
    return {"name": name, "datatype": DATATYPES.get(dtype, dtype.upper()), "shape": list(sizes)}
