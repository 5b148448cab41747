"""Names of tables, what keeps a table from taking records, and making one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.bigquery import SchemaField, Table

from emulators.bigquery import PROJECT
from transforms.errors import ConfigurationError, ModelError
from transforms.predictors.base import Signature, TensorSpec
from transforms.records import DeadLetter, Prediction
from transforms.schemas import bigquery_schema
from transforms.sinks import bigquery_tables
from transforms.sinks.bigquery_tables import TableName, _column_differences, create_table, differences

SIGNATURE = Signature(
    "serving_default",
    (),
    (TensorSpec("label", "int64", (None,)), TensorSpec("scores:0", "float32", (None, 10))),
)


@pytest.fixture
def name(bigquery: Any) -> TableName:
    dataset = f"d_{uuid.uuid4().hex}"
    bigquery.create_dataset(dataset)
    return TableName(PROJECT, dataset, "predictions")


@pytest.mark.parametrize("text", ["my-project.digits.predictions", "my-project:digits.predictions"])
def test_a_table_is_named_in_either_of_googles_ways(text: str) -> None:
    name = TableName.parse(text)
    assert name == TableName("my-project", "digits", "predictions")
    assert str(name) == "my-project.digits.predictions"
    assert TableName.parse(str(name)) == name


def test_a_project_may_belong_to_a_domain() -> None:
    name = TableName.parse("example.com:project:digits.with-dash_1")
    assert name == TableName("example.com:project", "digits", "with-dash_1")
    assert TableName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["", "predictions", "digits.predictions", "p p.d.t", "project.d-d.t", "project.d.t$20250101", "p.d.t.u"],
)
def test_what_is_no_table_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"PROJECT\.DATASET\.TABLE, such as my-project\.digits\.predictions"):
        TableName.parse(text)


@pytest.mark.parametrize(("record", "day"), [(Prediction, "predicted_at"), (DeadLetter, "failed_at")])
def test_a_table_that_is_created_takes_the_records(
    name: TableName, bigquery: Any, record: type[Prediction] | type[DeadLetter], day: str
) -> None:
    assert differences(name, record, SIGNATURE) is None
    create_table(name, record, SIGNATURE)
    create_table(name, record, SIGNATURE)  # as when two runs start at once
    assert differences(name, record, SIGNATURE) == []
    table = bigquery.get_table(str(name))
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", day)
    assert table.clustering_fields == ["model_version"]


def test_every_difference_is_named(name: TableName, bigquery: Any) -> None:
    schema = bigquery_schema(Prediction, SIGNATURE)
    _change(schema, "uri", type="INTEGER")
    _change(schema, "model", mode="REPEATED")
    _change(schema, "generation", mode="REQUIRED")
    (outputs,) = (field for field in schema if field["name"] == "outputs")
    outputs["fields"] = [{"name": "scores_0", "type": "FLOAT", "mode": "NULLABLE"}]
    schema = [field for field in schema if field["name"] != "attributes"]
    schema += [
        {"name": "shop", "type": "STRING", "mode": "REQUIRED"},
        {"name": "remark", "type": "STRING", "mode": "NULLABLE"},
    ]
    bigquery.create_table(Table(str(name), [SchemaField.from_api_repr(field) for field in schema]))

    assert differences(name, Prediction, SIGNATURE) == [
        "has the column uri as REQUIRED INTEGER, the records as REQUIRED STRING",
        "has the column generation as REQUIRED INTEGER, the records as NULLABLE INTEGER",
        "has the column model as REPEATED STRING, the records as REQUIRED STRING",
        "lacks the column outputs.label, NULLABLE INTEGER",
        "has the column outputs.scores_0 as NULLABLE FLOAT, the records as REPEATED FLOAT",
        "lacks the column attributes, REQUIRED JSON",
        "has the column shop as REQUIRED STRING; the records lack it",
    ]


def test_a_limit_of_a_type_is_a_difference() -> None:
    wanted = [{"name": "uri", "type": "STRING", "mode": "REQUIRED"}]
    there = [
        {"name": "uri", "type": "STRING", "mode": "REQUIRED", "maxLength": "5"}
    ]  # which bqemulator forgets
    (difference,) = _column_differences(wanted, there)
    assert difference == "has the column uri as REQUIRED STRING(5), the records as REQUIRED STRING"


def test_a_table_may_ask_for_less_and_have_more(name: TableName, bigquery: Any) -> None:
    schema = bigquery_schema(Prediction, SIGNATURE)
    for field in schema:
        field["name"] = field["name"].upper()
        field["mode"] = "NULLABLE"
    schema.append({"name": "remark", "type": "STRING", "mode": "NULLABLE"})
    (outputs,) = (field for field in schema if field["name"] == "OUTPUTS")
    outputs["fields"].append({"name": "of_the_next_version", "type": "FLOAT64", "mode": "NULLABLE"})
    bigquery.create_table(Table(str(name), [SchemaField.from_api_repr(field) for field in schema]))
    assert differences(name, Prediction, SIGNATURE) == []


def test_a_view_takes_no_rows(name: TableName, bigquery: Any) -> None:
    view = Table(str(name))
    view.view_query = "SELECT 1 AS one"
    bigquery.create_table(view)
    assert differences(name, Prediction, SIGNATURE) == ["is a VIEW, which takes no rows; give a table"]


def test_a_missing_dataset_is_told_with_the_remedy(bigquery: Any) -> None:
    name = TableName(PROJECT, "nowhere", "predictions")
    with pytest.raises(
        ConfigurationError, match=rf"no dataset {PROJECT}\.nowhere.*bq mk --dataset {PROJECT}:nowhere"
    ):
        differences(name, Prediction, SIGNATURE)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (exceptions.NotFound("Not found: Dataset"), "bq mk --dataset p12345:d"),
        (exceptions.Forbidden("no"), r"roles/bigquery\.dataEditor on the dataset p12345\.d"),
        (exceptions.Unauthorized("who"), r"roles/bigquery\.dataEditor"),
        (DefaultCredentialsError("none"), "gcloud auth application-default login"),
        (exceptions.ServiceUnavailable("later"), "try again later"),
        (ConnectionRefusedError("refused"), "try again later"),
    ],
)
def test_what_bigquery_answers_is_told_with_the_remedy(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def refuse(self, *_: Any, **__: Any) -> None:
            raise error

        get_table = get_dataset = create_table = refuse

    monkeypatch.setattr(bigquery_tables, "_client", lambda project: Refusing())
    with pytest.raises(ConfigurationError, match=told) as raised:
        differences(TableName("p12345", "d", "t"), Prediction, SIGNATURE)
    assert str(raised.value).startswith("table p12345.d.t: ")
    with pytest.raises(ConfigurationError, match=told):
        create_table(TableName("p12345", "d", "t"), Prediction, SIGNATURE)


def test_outputs_that_are_one_column_to_bigquery_are_told_of() -> None:
    outputs = (TensorSpec("a:0", "int64", (None,)), TensorSpec("a_0", "int64", (None,)))
    with pytest.raises(ModelError, match="a_0"):
        differences(TableName("p12345", "d", "t"), Prediction, Signature("s", (), outputs))


def _change(schema: list[dict[str, Any]], name: str, **changes: str) -> None:
    (field,) = (field for field in schema if field["name"] == name)
    field.update(changes)
