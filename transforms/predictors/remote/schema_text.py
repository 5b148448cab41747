"""Inputs and outputs as a user writes them on the command line: `label:int64,scores:float32[10]`."""

from __future__ import annotations

import re

import numpy as np

from transforms.predictors.base import TensorSpec

EXAMPLE = "label:int64,scores:float32[10],words:string[?]"
INPUT_EXAMPLE = "image_bytes:string,threshold:float32"

_SPEC = re.compile(
    r"\s*(?P<name>[^\s:,\[\]]+)\s*:\s*(?P<dtype>\w+)\s*(?:\[(?P<shape>[\d?,\s]*)\])?\s*(?:,(?!\s*$)|$)",
    re.ASCII,
)
_KINDS = "biuf"


def parse_schema(text: str) -> tuple[TensorSpec, ...]:
    """Read tensors: for each a name, a dtype, and the shape of one item where that is no single value.

    Args:
        text: Such as `EXAMPLE`; a question mark is a dimension that varies.

    Returns:
        The tensors, sorted by name, with the batch's dimension before the item's own.

    Raises:
        ValueError: It is none; the message says where, and what it must be.
    """
    specs: dict[str, TensorSpec] = {}
    position = 0
    while position < len(text):
        match = _SPEC.match(text, position)
        if match is None:
            raise ValueError(f"must be names with their types, such as {EXAMPLE}; at {text[position:]!r}")
        name = match["name"]
        if name in specs:
            raise ValueError(f"must have each name once; {name!r} comes again")
        specs[name] = TensorSpec(name, _dtype(match["dtype"]), (None, *_dimensions(match["shape"] or "")))
        position = match.end()
    if not specs:
        raise ValueError(f"must be names with their types, such as {EXAMPLE}")
    return tuple(sorted(specs.values(), key=lambda spec: spec.name))


def _dtype(name: str) -> str:
    if name in ("string", "bfloat16"):
        return name
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in _KINDS or dtype.name != name:
        raise ValueError(f"must have dtypes such as float32, int64, bool and string; {name!r} is none")
    return name


def _dimensions(text: str) -> list[int | None]:
    sizes = [size.strip() for size in text.split(",")] if text.strip() else []
    for size in sizes:
        if size != "?" and not size.isdecimal():
            raise ValueError(f"must have shapes such as [10] or [?,4]; [{text}] is none")
    return [None if size == "?" else int(size) for size in sizes]
