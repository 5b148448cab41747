"""From records to a table of an emulator of BigQuery, by the methods that it has; and docs/bigquery.md."""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing import test_stream
from google.cloud.bigquery import SchemaField, Table

from emulators.bigquery import PROJECT
from tests.transforms.pipelines import collect, local_pipeline
from transforms.errors import FileMissing
from transforms.predictors.base import Signature, TensorSpec
from transforms.records import DeadLetter, FileRef, Prediction
from transforms.results import Results
from transforms.schemas import Record, bigquery_schema
from transforms.sinks.bigquery_tables import TableName, create_table
from transforms.sinks.to_bigquery import (
    FILE_LOADS,
    METHODS,
    STORAGE_WRITE_API,
    STREAMING_INSERTS,
    ToBigQuery,
    _refused,
)

AT = datetime(2025, 3, 1, 12, 30, 0, 123456, tzinfo=timezone.utc)
DOCS = Path(__file__).parents[3] / "docs/bigquery.md"
SIGNATURE = Signature(
    "serving_default",
    (),
    (
        TensorSpec("label:0", "int64", (None,)),
        TensorSpec("scores", "float32", (None, 3)),
        TensorSpec("box", "float32", (None, 2, 2)),
        TensorSpec("hash", "uint64", (None,)),
        TensorSpec("name", "string", (None,)),
    ),
)


@pytest.fixture
def name(bigquery: Any) -> TableName:
    dataset = f"d_{uuid.uuid4().hex}"
    bigquery.create_dataset(dataset)
    return TableName(PROJECT, dataset, "predictions")


@pytest.fixture
def table(name: TableName) -> TableName:
    create_table(name, Prediction, SIGNATURE)
    return name


def prediction(number: int) -> Prediction:
    outputs = {
        "label:0": np.int64(number),
        "scores": np.array([np.nan, -np.inf, 0.5], np.float32),
        "box": np.array([[1, 2], [3, np.nan]], np.float32),
        "hash": np.uint64(2**64 - 1),
        "name": "aGVsbG8=",
    }
    attributes = {"shop": number, "tags": ["ä", None]}
    return Prediction(
        f"id{number}", f"gs://b/{number}.png", 2**62 + number, "m", "1", "s", outputs, attributes, AT
    )


def letter() -> DeadLetter:
    ref = FileRef("gs://b/gone.png", generation=5, attributes={"shop": 1})
    return DeadLetter.of(FileMissing("it is not there"), ref, prediction_id="gone", model_version="1")


def write(records: Sequence[Record], sink: ToBigQuery, *flags: str) -> list[DeadLetter]:
    """Return the dead letters of what was refused."""
    with local_pipeline(*flags) as pipeline:
        written: Results = pipeline | beam.Create(records) | "ToBigQuery" >> sink
        return collect(written.dead_letters)


def rows(bigquery: Any, name: TableName) -> list[dict[str, Any]]:
    key = "failed_at" if name.table == "dead_letters" else "prediction_id"
    return [dict(row) for row in bigquery.query(f"SELECT * FROM `{name}` ORDER BY {key}").result()]


def expected(number: int) -> dict[str, Any]:
    return {
        "prediction_id": f"id{number}",
        "uri": f"gs://b/{number}.png",
        "generation": 2**62 + number,
        "model": "m",
        "model_version": "1",
        "signature": "s",
        "outputs": {
            "label_0": number,
            "scores": [pytest.approx(float("nan"), nan_ok=True), float("-inf"), 0.5],
            "box": [[1, 2], [3, "NaN"]],
            "hash": 2**64 - 1,
            "name": "aGVsbG8=",
        },
        "attributes": {"shop": number, "tags": ["ä", None]},
        "predicted_at": AT,
    }


def with_json(row: dict[str, Any]) -> dict[str, Any]:
    """Read JSON inside a record, which google-cloud-bigquery returns as text."""
    box = row["outputs"]["box"]
    return {**row, "outputs": {**row["outputs"], "box": json.loads(box) if isinstance(box, str) else box}}


def test_inserted_predictions_are_read_back_as_they_were(table: TableName, bigquery: Any) -> None:
    sink = ToBigQuery(table, Prediction, SIGNATURE, STREAMING_INSERTS)
    assert write([prediction(1), prediction(2)], sink) == []
    assert [with_json(row) for row in rows(bigquery, table)] == [expected(1), expected(2)]


def test_loaded_predictions_are_read_back_as_they_were(
    table: TableName, bigquery: Any, load_bucket: str
) -> None:
    sink = ToBigQuery(table, Prediction, SIGNATURE, FILE_LOADS)
    assert write([prediction(1), prediction(2)], sink, f"--temp_location={load_bucket}/staged") == []
    assert [with_json(row) for row in rows(bigquery, table)] == [expected(1), expected(2)]


@pytest.mark.parametrize("method", [STREAMING_INSERTS, FILE_LOADS])
def test_a_stream_is_written_while_it_goes_on(
    table: TableName, bigquery: Any, load_bucket: str, method: str
) -> None:
    flags = ["--streaming", f"--temp_location={load_bucket}/staged"]
    stream = (
        test_stream.TestStream()
        .add_elements([prediction(1)])
        .advance_watermark_to(10)
        .add_elements([prediction(2)])
    )
    stream = stream.advance_processing_time(60).advance_watermark_to_infinity()
    sink = ToBigQuery(table, Prediction, SIGNATURE, method, 5 if method == FILE_LOADS else None)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(flags)) as pipeline:
        _ = pipeline | stream | "ToBigQuery" >> sink
    assert [with_json(row) for row in rows(bigquery, table)] == [expected(1), expected(2)]


def test_dead_letters_have_a_table_of_their_own(name: TableName, bigquery: Any) -> None:
    table = replace(name, table="dead_letters")
    create_table(table, DeadLetter, SIGNATURE)
    assert write([letter()], ToBigQuery(table, DeadLetter, SIGNATURE, STREAMING_INSERTS)) == []
    (row,) = rows(bigquery, table)
    assert (row["prediction_id"], row["uri"], row["generation"]) == ("gone", "gs://b/gone.png", 5)
    assert (row["stage"], row["error"], row["message"]) == ("read", "FileMissing", "it is not there")
    assert (row["attributes"], row["payload"], row["retryable"]) == ({"shop": 1}, None, False)


def test_what_bigquery_refuses_comes_back_with_its_reason(name: TableName, bigquery: Any) -> None:
    schema = bigquery_schema(Prediction, SIGNATURE)
    (uri,) = (field for field in schema if field["name"] == "uri")
    uri["type"] = "INTEGER"  # somebody has changed the table since the preflight
    bigquery.create_table(Table(str(name), [SchemaField.from_api_repr(field) for field in schema]))
    records = [replace(prediction(1), uri="17"), prediction(2)]

    (refused,) = write(records, ToBigQuery(name, Prediction, SIGNATURE, STREAMING_INSERTS))

    assert (refused.stage, refused.error, refused.retryable) == ("write", "RowRefused", False)
    assert "Cannot convert value" in refused.message  # BigQuery's own words
    assert "(invalid)" in refused.message
    assert (refused.prediction_id, refused.model_version) == ("id2", "1")
    assert (refused.uri, refused.generation) == ("gs://b/2.png", 2**62 + 2)
    assert refused.attributes == {"shop": 2, "tags": ["ä", None]}
    assert [row["uri"] for row in rows(bigquery, name)] == [17]


def test_a_table_that_is_gone_makes_dead_letters_and_does_not_hold_up(name: TableName) -> None:
    (refused,) = write([prediction(1)], ToBigQuery(name, Prediction, SIGNATURE, STREAMING_INSERTS))
    assert refused.error == "RowRefused"
    assert "Not found" in refused.message


@pytest.mark.parametrize("method", [STREAMING_INSERTS, FILE_LOADS])
def test_one_bad_record_costs_one_dead_letter(
    table: TableName, bigquery: Any, load_bucket: str, method: str
) -> None:
    bad = replace(prediction(2), outputs={**prediction(2).outputs, "name": 5})
    sink = ToBigQuery(table, Prediction, SIGNATURE, method)
    (refused,) = write([prediction(1), bad, prediction(3)], sink, f"--temp_location={load_bucket}/staged")
    assert (refused.stage, refused.error, refused.prediction_id) == ("write", "RowRefused", "id2")
    assert refused.message == "outputs.name: 5 is no string"
    assert [row["prediction_id"] for row in rows(bigquery, table)] == ["id1", "id3"]


def test_a_row_over_10_megabytes_is_a_dead_letter(table: TableName, bigquery: Any) -> None:
    outputs = {**prediction(2).outputs, "name": "x" * 10_000_000}
    sink = ToBigQuery(table, Prediction, SIGNATURE, STREAMING_INSERTS)
    (refused,) = write([prediction(1), replace(prediction(2), outputs=outputs)], sink)
    assert (refused.error, refused.prediction_id) == ("RecordTooLarge", "id2")
    assert [row["prediction_id"] for row in rows(bigquery, table)] == ["id1"]


def test_a_row_for_which_beam_has_no_room_is_a_dead_letter(table: TableName) -> None:
    outputs = {**prediction(2).outputs, "name": "x" * 9_900_000}  # and a request of Beam's has 9 MiB
    sink = ToBigQuery(table, Prediction, SIGNATURE, STREAMING_INSERTS)
    (refused,) = write([replace(prediction(2), outputs=outputs)], sink)
    assert (refused.error, refused.prediction_id) == ("RecordTooLarge", "id2")


def test_a_refused_dead_letter_still_tells_what_it_was_of(name: TableName) -> None:
    lost = replace(letter(), uri=None, payload="{")
    (refused,) = write([lost], ToBigQuery(name, DeadLetter, SIGNATURE, STREAMING_INSERTS))
    assert "the dead letter was: read/FileMissing, it is not there" in refused.message
    assert (refused.uri, refused.payload) == (None, "{")


def test_what_the_storage_write_api_refuses_is_a_dead_letter() -> None:
    row = {"uri": "u", "generation": 7, "prediction_id": "id", "model_version": "1", "attributes": '{"a":1}'}
    refused = _refused({"error_message": "no such field", "failed_row": row})
    assert (refused.error, refused.message, refused.attributes) == ("RowRefused", "no such field", {"a": 1})


@pytest.mark.parametrize(
    ("method", "load_seconds", "told"),
    [
        ("SOMEHOW", None, "FILE_LOADS, STREAMING_INSERTS, STORAGE_WRITE_API"),
        (STREAMING_INSERTS, 5, "leave it out"),
        (STORAGE_WRITE_API, 5, "leave it out"),
        (FILE_LOADS, 0, "at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(method: str, load_seconds: int | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ToBigQuery(TableName("p12345", "d", "t"), Prediction, SIGNATURE, method, load_seconds)


def test_the_sql_of_the_docs_tells_each_prediction_once(name: TableName, bigquery: Any) -> None:
    twice = [replace(prediction(1), predicted_at=AT + timedelta(minutes=minutes)) for minutes in (0, 10, 5)]
    same = [prediction(2), prediction(2)]  # an insert that was tried again
    letters = replace(name, table="predictions_dead_letters")
    create_table(name, Prediction, SIGNATURE)
    create_table(letters, DeadLetter, SIGNATURE)
    assert (
        write([*twice, *same, prediction(3)], ToBigQuery(name, Prediction, SIGNATURE, STREAMING_INSERTS))
        == []
    )
    assert write([letter(), letter()], ToBigQuery(letters, DeadLetter, SIGNATURE, STREAMING_INSERTS)) == []

    results = [[dict(row) for row in bigquery.query(sql).result()] for sql in _documented(name)]

    once = rows(bigquery, replace(name, table="predictions_once"))
    assert Counter(row["prediction_id"] for row in once) == {"id1": 1, "id2": 1, "id3": 1}
    assert once[0]["predicted_at"] == AT + timedelta(minutes=10)
    assert results[-1] == [
        {"stage": "read", "error": "FileMissing", "inputs": 1, "example": "it is not there"}
    ]


def test_the_methods_are_all_documented() -> None:
    assert all(f"`{method}`" in DOCS.read_text() for method in METHODS)


def _documented(name: TableName) -> list[str]:
    """Return the queries of the document, on a dataset of this test's."""
    queries = re.findall(r"^```sql\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert len(queries) >= 2
    return [query.replace("my-project.digits", f"{name.project}.{name.dataset}") for query in queries]
