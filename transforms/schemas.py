"""From a record and a model's signature to the schema of a table."""

from __future__ import annotations

import typing
from dataclasses import fields
from datetime import datetime
from types import NoneType
from typing import Any

import pyarrow as pa

from transforms.errors import ModelError
from transforms.predictors.base import Signature, TensorSpec
from transforms.records import Attributes, DeadLetter, Prediction

Record = Prediction | DeadLetter

OUTPUTS = "outputs"
"""The field that holds one value for each output of the signature."""

JSON_TEXT = pa.string()
"""What has no fixed type (attributes, outputs of unknown rank) is written as JSON."""

JSON_ENCODED = {b"encoding": b"json"}
"""The metadata of a column that holds JSON, which text alone does not tell from a string."""

_FIELD_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
    Attributes: JSON_TEXT,
}

_TENSOR_TYPES: dict[str, pa.DataType] = {
    name: pa.type_for_alias(name)
    for name in (
        *("bool", "float16", "float32", "float64", "string"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
} | {"bfloat16": pa.float32()}


def arrow_schema(record: type[Record], signature: Signature) -> pa.Schema:
    """Derive the Arrow schema of a record: its fields, and the outputs as a struct.

    Args:
        record: `Prediction` or `DeadLetter`.
        signature: Tells the types of the outputs.

    Raises:
        ModelError: An output has a dtype that no table holds.
    """
    hints = typing.get_type_hints(record)
    return pa.schema([_field(field.name, hints[field.name], signature) for field in fields(record)])


def output_type(spec: TensorSpec) -> pa.DataType:
    """Derive the Arrow type of one item's output: a scalar, a list for a vector, lists of lists for more.

    Raises:
        ModelError: No table holds the dtype.
    """
    if spec.dtype not in _TENSOR_TYPES:
        raise ModelError(f"output {spec} cannot be written: no output format holds {spec.dtype}")
    if spec.item_shape is None:
        return JSON_TEXT
    arrow = _TENSOR_TYPES[spec.dtype]
    for _ in spec.item_shape:
        arrow = pa.list_(arrow)
    return arrow


def _field(name: str, hint: Any, signature: Signature) -> pa.Field:
    if name == OUTPUTS:
        columns = [_output_field(spec) for spec in signature.outputs]
        return pa.field(name, pa.struct(columns), nullable=False)
    if hint in _FIELD_TYPES:
        metadata = JSON_ENCODED if hint == Attributes else None
        return pa.field(name, _FIELD_TYPES[hint], nullable=False, metadata=metadata)
    (kind,) = (alternative for alternative in typing.get_args(hint) if alternative is not NoneType)
    return pa.field(name, _FIELD_TYPES[kind])


def _output_field(spec: TensorSpec) -> pa.Field:
    return pa.field(spec.name, output_type(spec), metadata=JSON_ENCODED if spec.item_shape is None else None)


def is_json(field: pa.Field) -> bool:
    """Tell whether a column holds JSON as text."""
    return bool(field.metadata and field.metadata.items() >= JSON_ENCODED.items())
