"""From a batch of outputs to the outputs of each item."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.errors import ContractError
from transforms.predictors.base import Signature
from transforms.predictors.functions import Tensors
from transforms.records import Outputs

Column = np.ndarray[Any, Any]


def rows_of(outputs: Tensors, signature: Signature, count: int) -> Sequence[Outputs]:
    """Take a batch of outputs apart.

    Args:
        outputs: By name, with the batch dimension first.
        signature: Tells which outputs there are, and their order.
        count: The size of the batch.

    Returns:
        One mapping for each item: strings as text (base64 where they are not UTF-8), bfloat16 as float32.

    Raises:
        ContractError: An output has no row for each item.
    """
    columns = {spec.name: outputs[spec.name] for spec in signature.outputs}
    for name, column in columns.items():
        if column.shape[:1] != (count,):
            raise ContractError(
                f"signature {signature.name!r} returned an output {name!r} of the shape {list(column.shape)} "
                f"for a batch of {count}; its first dimension must be the batch's"
            )
    readable = [_readable(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*readable, strict=True)]


def _readable(column: Column) -> Column:
    if column.dtype.kind == "O":
        return np.asarray(np.frompyfunc(_text, 1, 1)(column), object)
    return column.astype(np.float32) if column.dtype.name == "bfloat16" else column


def _text(value: bytes | str) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
