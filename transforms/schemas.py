"""From a record and a model's signature to the schema of a table.

One walk over the record's fields gives the columns; the schemas of Arrow and of BigQuery are two ways to
write them down.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import NoneType
from typing import Any, NamedTuple

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

MAX_BIGQUERY_NAME = 300

_RECORD, _JSON, _TIMESTAMP = "record", "json", "timestamp"


class _Type(NamedTuple):
    """A type of single values, as Arrow and as BigQuery call it."""

    arrow: pa.DataType
    bigquery: str


_TYPES: dict[str, _Type] = {
    "string": _Type(pa.string(), "STRING"),
    "bool": _Type(pa.bool_(), "BOOLEAN"),
    **{
        name: _Type(pa.type_for_alias(name), "INTEGER")
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
    },
    # INTEGER has 64 bits with a sign; NUMERIC has 29 digits before the point, and is exact.
    "uint64": _Type(pa.uint64(), "NUMERIC"),
    **{name: _Type(pa.type_for_alias(name), "FLOAT") for name in ("float16", "float32", "float64")},
    "bfloat16": _Type(pa.float32(), "FLOAT"),
}
"""The types of tensors, by their dtypes."""

_OTHER_TYPES: dict[str, _Type] = {
    _JSON: _Type(JSON_TEXT, "JSON"),
    _TIMESTAMP: _Type(pa.timestamp("us", tz="UTC"), "TIMESTAMP"),
}

_FIELD_TYPES: dict[Any, str] = {
    str: "string",
    int: "int64",
    bool: "bool",
    datetime: _TIMESTAMP,
    Attributes: _JSON,
}
"""The types of a record's fields, by their annotations."""

# https://cloud.google.com/bigquery/docs/schemas#column_names
_NOT_IN_BIGQUERY_NAMES = re.compile(r"[^A-Za-z0-9_]|^(?=[0-9])")
_RESERVED_IN_BIGQUERY = re.compile(
    "_TABLE_|_FILE_|_PARTITION|_ROW_TIMESTAMP|__ROOT__|_COLIDENTIFIER|"
    "_CHANGE_SEQUENCE_NUMBER|_CHANGE_TYPE|_CHANGE_TIMESTAMP",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Column:
    """A column of a table, of whatever kind the table is.

    Attributes:
        name: Of the field or of the output.
        type: `record`, `json`, `timestamp`, or a tensor's dtype.
        rank: 0 for a single value, 1 for a list, 2 for a list of lists.
        required: Whether each row has a value.
        columns: What a `record` consists of.
    """

    name: str
    type: str
    rank: int = 0
    required: bool = False
    columns: tuple[Column, ...] = ()


def columns_of(record: type[Record], signature: Signature) -> tuple[Column, ...]:
    """Derive the columns of a record: its fields, and the outputs as a record in it.

    Args:
        record: `Prediction` or `DeadLetter`.
        signature: Tells the types of the outputs.

    Raises:
        ModelError: An output has a dtype that no table holds.
    """
    hints = typing.get_type_hints(record)
    return tuple(_field_column(field.name, hints[field.name], signature) for field in fields(record))


def arrow_schema(record: type[Record], signature: Signature) -> pa.Schema:
    """Derive the Arrow schema of a record, with the outputs as a struct; see `columns_of`."""
    return pa.schema([_arrow_field(column) for column in columns_of(record, signature)])


def bigquery_schema(record: type[Record], signature: Signature) -> list[dict[str, Any]]:
    """Derive the BigQuery schema of a record: its `fields` in the JSON form of BigQuery's API.

    Vectors are REPEATED, what has more dimensions is JSON: an array of BigQuery's cannot hold arrays. The
    outputs are NULLABLE, although each row has them: BigQuery adds no other columns to a table that is there,
    and so the next version of a model may have one output more.

    Args:
        record: `Prediction` or `DeadLetter`.
        signature: Tells the types of the outputs.

    Raises:
        ModelError: An output has a dtype that no table holds, or a name that BigQuery refuses.

    Example:
        >>> WriteToBigQuery(table, schema={"fields": bigquery_schema(Prediction, signature)})
        >>> [SchemaField.from_api_repr(field) for field in bigquery_schema(Prediction, signature)]
    """
    return _bigquery_fields(columns_of(record, signature))


def output_type(spec: TensorSpec) -> pa.DataType:
    """Derive the Arrow type of one item's output: a scalar, a list for a vector, lists of lists for more.

    Raises:
        ModelError: No table holds the dtype.
    """
    return _arrow_type(_output_column(spec))


def bigquery_name(name: str) -> str:
    """Return an output's name as BigQuery takes it.

    What is no letter of the English alphabet, digit or underscore becomes an underscore, and a digit at the
    beginning gets one before it: so `StatefulPartitionedCall:0` is `StatefulPartitionedCall_0`.
    """
    return _NOT_IN_BIGQUERY_NAMES.sub("_", name)


def _field_column(name: str, hint: Any, signature: Signature) -> Column:
    if name == OUTPUTS:
        return Column(name, _RECORD, required=True, columns=tuple(map(_output_column, signature.outputs)))
    if hint in _FIELD_TYPES:
        return Column(name, _FIELD_TYPES[hint], required=True)
    (kind,) = (alternative for alternative in typing.get_args(hint) if alternative is not NoneType)
    return Column(name, _FIELD_TYPES[kind])


def _output_column(spec: TensorSpec) -> Column:
    if spec.dtype not in _TYPES:
        raise ModelError(f"output {spec} cannot be written: no output format holds {spec.dtype}")
    if spec.item_shape is None:
        return Column(spec.name, _JSON)
    return Column(spec.name, spec.dtype, rank=len(spec.item_shape))


def _type(column: Column) -> _Type:
    return _OTHER_TYPES.get(column.type) or _TYPES[column.type]


def _arrow_field(column: Column) -> pa.Field:
    metadata = JSON_ENCODED if column.type == _JSON else None
    return pa.field(column.name, _arrow_type(column), nullable=not column.required, metadata=metadata)


def _arrow_type(column: Column) -> pa.DataType:
    if column.type == _RECORD:
        return pa.struct([_arrow_field(inner) for inner in column.columns])
    arrow = _type(column).arrow
    for _ in range(column.rank):
        arrow = pa.list_(arrow)
    return arrow


def _bigquery_fields(columns: Iterable[Column]) -> list[dict[str, Any]]:
    named: dict[str, str] = {}  # BigQuery's name, whose case does not count, and whose it is
    defined = []
    for column in columns:
        field = _bigquery_field(column)
        _check_bigquery_name(column.name, field["name"], named)
        named[field["name"].lower()] = column.name
        defined.append(field)
    return defined


def _bigquery_field(column: Column) -> dict[str, Any]:
    name, mode = bigquery_name(column.name), "REQUIRED" if column.required else "NULLABLE"
    if column.type == _RECORD:
        return {"name": name, "type": "RECORD", "mode": mode, "fields": _bigquery_fields(column.columns)}
    if column.rank > 1:
        return {"name": name, "type": _OTHER_TYPES[_JSON].bigquery, "mode": mode}
    return {"name": name, "type": _type(column).bigquery, "mode": "REPEATED" if column.rank else mode}


def _check_bigquery_name(name: str, written: str, others: Mapping[str, str]) -> None:
    reserved = _RESERVED_IN_BIGQUERY.match(written)
    if len(written) > MAX_BIGQUERY_NAME:
        problem = f"has {len(written)} characters, and BigQuery takes {MAX_BIGQUERY_NAME}"
    elif reserved:
        problem = f"begins with {reserved.group()}, which BigQuery keeps for itself"
    elif written.lower() in others:
        problem = f"and the output {others[written.lower()]!r} are both {written!r} to BigQuery"
    else:
        return
    raise ModelError(f"output {name!r} {problem}; export the model with another name for it")


def is_json(field: pa.Field) -> bool:
    """Tell whether a column holds JSON as text."""
    return bool(field.metadata and field.metadata.items() >= JSON_ENCODED.items())
