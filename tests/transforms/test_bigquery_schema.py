"""From records and signatures to the schema of a BigQuery table."""

from __future__ import annotations

import json
import typing
from dataclasses import fields
from types import NoneType
from typing import Any

import pytest
from apache_beam.io.gcp.bigquery_tools import parse_table_schema_from_json
from google.cloud.bigquery import SchemaField

from transforms.errors import ModelError
from transforms.predictors.base import Signature, TensorSpec
from transforms.records import DeadLetter, Prediction
from transforms.schemas import Record, arrow_schema, bigquery_name, bigquery_schema

SIGNATURE = Signature(
    "from_bytes",
    inputs=(TensorSpec("image_bytes", "string", (None,)),),
    outputs=(
        TensorSpec("label", "int64", (None,)),
        TensorSpec("probability", "float32", (None,)),
        TensorSpec("scores", "float32", (None, 10)),
    ),
)


def _with_outputs(*outputs: TensorSpec) -> Signature:
    return Signature("s", (), outputs)


def _output(dtype: str, shape: tuple[int | None, ...] | None) -> tuple[str, str]:
    """Return the type and the mode of the column of one output."""
    schema = bigquery_schema(Prediction, _with_outputs(TensorSpec("x", dtype, shape)))
    (outputs,) = (field for field in schema if field["name"] == "outputs")
    (column,) = outputs["fields"]
    return column["type"], column["mode"]


def _named(*names: str) -> Signature:
    return _with_outputs(*(TensorSpec(name, "float32", (None,)) for name in names))


def test_the_schema_of_predictions() -> None:
    outputs = [
        {"name": "label", "type": "INTEGER", "mode": "NULLABLE"},
        {"name": "probability", "type": "FLOAT", "mode": "NULLABLE"},
        {"name": "scores", "type": "FLOAT", "mode": "REPEATED"},
    ]
    assert bigquery_schema(Prediction, SIGNATURE) == [
        {"name": "prediction_id", "type": "STRING", "mode": "REQUIRED"},
        {"name": "uri", "type": "STRING", "mode": "REQUIRED"},
        {"name": "generation", "type": "INTEGER", "mode": "NULLABLE"},
        {"name": "model", "type": "STRING", "mode": "REQUIRED"},
        {"name": "model_version", "type": "STRING", "mode": "REQUIRED"},
        {"name": "signature", "type": "STRING", "mode": "REQUIRED"},
        {"name": "outputs", "type": "RECORD", "mode": "REQUIRED", "fields": outputs},
        {"name": "attributes", "type": "JSON", "mode": "REQUIRED"},
        {"name": "predicted_at", "type": "TIMESTAMP", "mode": "REQUIRED"},
    ]


def test_the_schema_of_dead_letters() -> None:
    assert bigquery_schema(DeadLetter, SIGNATURE) == [
        {"name": "prediction_id", "type": "STRING", "mode": "NULLABLE"},
        {"name": "uri", "type": "STRING", "mode": "NULLABLE"},
        {"name": "generation", "type": "INTEGER", "mode": "NULLABLE"},
        {"name": "stage", "type": "STRING", "mode": "REQUIRED"},
        {"name": "error", "type": "STRING", "mode": "REQUIRED"},
        {"name": "message", "type": "STRING", "mode": "REQUIRED"},
        {"name": "retryable", "type": "BOOLEAN", "mode": "REQUIRED"},
        {"name": "attempts", "type": "INTEGER", "mode": "REQUIRED"},
        {"name": "model_version", "type": "STRING", "mode": "NULLABLE"},
        {"name": "attributes", "type": "JSON", "mode": "REQUIRED"},
        {"name": "payload", "type": "STRING", "mode": "NULLABLE"},
        {"name": "failed_at", "type": "TIMESTAMP", "mode": "REQUIRED"},
    ]


@pytest.mark.parametrize("record", [Prediction, DeadLetter])
def test_a_column_is_required_where_the_record_always_has_a_value(record: type[Record]) -> None:
    hints = typing.get_type_hints(record)
    required = [field.name for field in fields(record) if NoneType not in typing.get_args(hints[field.name])]

    schema = bigquery_schema(record, SIGNATURE)

    assert [field["name"] for field in schema if field["mode"] == "REQUIRED"] == required


@pytest.mark.parametrize("record", [Prediction, DeadLetter])
def test_both_schemas_have_the_same_columns_in_the_same_order(record: type[Record]) -> None:
    arrow, bigquery = arrow_schema(record, SIGNATURE), bigquery_schema(record, SIGNATURE)

    assert [field["name"] for field in bigquery] == arrow.names
    assert [field["mode"] == "NULLABLE" for field in bigquery] == [field.nullable for field in arrow]


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("bool", "BOOLEAN"),
        *((name, "INTEGER") for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")),
        ("uint64", "NUMERIC"),
        *((name, "FLOAT") for name in ("bfloat16", "float16", "float32", "float64")),
        ("string", "STRING"),
    ],
)
def test_each_dtype_has_its_type(dtype: str, kind: str) -> None:
    assert _output(dtype, (None,)) == (kind, "NULLABLE")
    assert _output(dtype, (None, 3)) == (kind, "REPEATED")


@pytest.mark.parametrize(
    ("shape", "column"),
    [
        ((None,), ("INTEGER", "NULLABLE")),
        ((None, 1), ("INTEGER", "REPEATED")),
        ((None, None), ("INTEGER", "REPEATED")),
        ((None, 2, None), ("JSON", "NULLABLE")),
        ((None, 8, 8, 1), ("JSON", "NULLABLE")),
        (None, ("JSON", "NULLABLE")),
    ],
)
def test_a_vector_is_repeated_and_what_has_more_dimensions_or_any_is_json(
    shape: tuple[int | None, ...] | None, column: tuple[str, str]
) -> None:
    assert _output("int64", shape) == column


def test_a_dtype_that_no_table_holds_is_refused_with_the_output() -> None:
    with pytest.raises(ModelError, match=r"output wave: complex64 \[\?\] cannot be written"):
        bigquery_schema(Prediction, _with_outputs(TensorSpec("wave", "complex64", (None,))))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("scores", "scores"),
        ("output_0", "output_0"),
        ("_hidden", "_hidden"),
        ("StatefulPartitionedCall:0", "StatefulPartitionedCall_0"),
        ("dense/Softmax", "dense_Softmax"),
        ("top-1 class", "top_1_class"),
        ("1x1", "_1x1"),
        ("größe", "gr__e"),
    ],
)
def test_a_name_becomes_one_that_bigquery_takes(name: str, written: str) -> None:
    schema = bigquery_schema(Prediction, _named(name))

    assert bigquery_name(name) == written
    assert [field["name"] for field in schema[6]["fields"]] == [written]
    assert arrow_schema(Prediction, _named(name)).field("outputs").type.field(0).name == name


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["dense/1", "dense_1"], "output 'dense_1' and the output 'dense/1' are both 'dense_1' to BigQuery"),
        (["Label", "label"], "output 'label' and the output 'Label' are both 'label' to BigQuery"),
        (["x" * 301], "has 301 characters, and BigQuery takes 300"),
        (["_PARTITIONTIME"], "output '_PARTITIONTIME' begins with _PARTITION, which BigQuery keeps"),
        (["_table_1"], "output '_table_1' begins with _table_, which BigQuery keeps"),
    ],
)
def test_a_name_that_bigquery_cannot_have_is_refused_with_the_remedy(names: list[str], told: str) -> None:
    with pytest.raises(ModelError, match=told) as raised:
        bigquery_schema(Prediction, _named(*names))

    assert str(raised.value).endswith("export the model with another name for it")
    arrow_schema(Prediction, _named(*names))  # it is BigQuery's rule only


@pytest.mark.parametrize("record", [Prediction, DeadLetter])
def test_googles_client_reads_the_schema(record: type[Record]) -> None:
    schema = bigquery_schema(record, SIGNATURE)

    read = [SchemaField.from_api_repr(field) for field in schema]

    assert [_plain(field.to_api_repr()) for field in read] == schema


@pytest.mark.parametrize("record", [Prediction, DeadLetter])
def test_beam_reads_the_schema(record: type[Record]) -> None:
    schema = bigquery_schema(record, SIGNATURE)

    read = parse_table_schema_from_json(json.dumps({"fields": schema}))

    assert [_of_beam(field) for field in read.fields] == schema


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """Leave out what Google's client adds to a field by itself."""
    inner = {"fields": [_plain(nested) for nested in field["fields"]]} if field.get("fields") else {}
    return {name: field[name] for name in ("name", "type", "mode")} | inner


def _of_beam(field: Any) -> dict[str, Any]:
    inner = {"fields": [_of_beam(nested) for nested in field.fields]} if field.fields else {}
    return {"name": field.name, "type": field.type, "mode": field.mode} | inner
