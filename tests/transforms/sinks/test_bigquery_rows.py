"""Rows as BigQuery wants them, and what it would refuse: its emulator takes more than BigQuery does."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from apache_beam.coders import registry
from apache_beam.io.gcp.bigquery_tools import beam_row_from_dict, get_beam_typehints_from_tableschema
from apache_beam.typehints.row_type import RowTypeConstraint

from transforms.errors import FileMissing, ParseError, RecordTooLarge, RowRefused
from transforms.predictors.base import Signature, TensorSpec
from transforms.records import DeadLetter, FileRef, Prediction
from transforms.schemas import Record, bigquery_schema, columns_of
from transforms.sinks.bigquery_rows import (
    FILE_LOADS,
    METHODS,
    STORAGE_WRITE_API,
    STREAMING_INSERTS,
    Row,
    row_of,
)

AT = datetime(2025, 3, 1, 12, 30, 0, 123456, tzinfo=timezone.utc)
IN_JSON = (FILE_LOADS, STREAMING_INSERTS)


def prediction(**outputs: Any) -> Prediction:
    return Prediction(
        "id", "gs://b/1.png", 7, "gs://b/model", "3", "serving_default", outputs, {"shop": 5}, AT
    )


def signature(*outputs: TensorSpec) -> Signature:
    return Signature("serving_default", (), outputs)


def row(record: Record, *outputs: TensorSpec, method: str = STREAMING_INSERTS) -> Row:
    return row_of(record, columns_of(type(record), signature(*outputs)), method)


def output(value: Any, dtype: str, *dimensions: int | None, method: str = STREAMING_INSERTS) -> Any:
    """Return what the cell of an output holds."""
    spec = TensorSpec("x", dtype, (None, *dimensions))
    return row(prediction(x=value), spec, method=method)["outputs"]["x"]


@pytest.mark.parametrize("method", IN_JSON)
def test_a_prediction_is_a_row_of_its_fields(method: str) -> None:
    attributes: Any = {"shop": 5} if method == FILE_LOADS else '{"shop":5}'
    assert row(prediction(label=np.int64(4)), TensorSpec("label", "int64", (None,)), method=method) == {
        "prediction_id": "id",
        "uri": "gs://b/1.png",
        "generation": 7,
        "model": "gs://b/model",
        "model_version": "3",
        "signature": "serving_default",
        "outputs": {"label": 4},
        "attributes": attributes,
        "predicted_at": "2025-03-01T12:30:00.123456Z",
    }


def test_a_dead_letter_is_a_row_of_its_fields() -> None:
    letter = DeadLetter.of(
        FileMissing("gs://b/1.png is not there"), FileRef("gs://b/1.png", attributes={"a": 1})
    )
    letter = replace(letter, failed_at=AT)
    assert row(letter) == {
        "prediction_id": None,
        "uri": "gs://b/1.png",
        "generation": None,
        "stage": "read",
        "error": "FileMissing",
        "message": "gs://b/1.png is not there",
        "retryable": False,
        "attempts": 1,
        "model_version": None,
        "attributes": '{"a":1}',
        "payload": None,
        "failed_at": "2025-03-01T12:30:00.123456Z",
    }


def test_a_dead_letter_without_a_uri_is_a_row() -> None:
    written = row(DeadLetter.of(ParseError("names no file", "\x00{")))
    assert (written["uri"], written["payload"]) == (None, "\x00{")


@pytest.mark.parametrize("method", IN_JSON)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_and_infinities_are_the_words_that_bigquery_reads(dtype: str, method: str) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.5], dtype)
    assert output(special, dtype, 4, method=method) == ["NaN", "Infinity", "-Infinity", 0.5]
    assert output(special[0], dtype, method=method) == "NaN"


def test_a_float32_has_the_digits_that_the_files_have() -> None:
    assert output(np.float32(0.1), "float32") == 0.1


@pytest.mark.parametrize("method", IN_JSON)
@pytest.mark.parametrize("value", [2**53, -(2**53), 2**63 - 1, -(2**63)])
def test_an_integer_that_json_would_round_is_text(value: int, method: str) -> None:
    assert output(np.int64(value), "int64", method=method) == str(value)
    assert output(np.array([value, 1]), "int64", 2, method=method) == [str(value), 1]
    generation = replace(prediction(), generation=value)
    assert row(generation, method=method)["generation"] == str(value)


@pytest.mark.parametrize("method", IN_JSON)
def test_a_uint64_is_text_with_all_its_digits(method: str) -> None:
    assert output(np.uint64(2**64 - 1), "uint64", method=method) == "18446744073709551615"
    assert output(np.array([0, 2**63], np.uint64), "uint64", 2, method=method) == ["0", "9223372036854775808"]


def test_a_vector_is_repeated_and_a_matrix_is_json() -> None:
    matrix = np.array([[1.5, np.nan], [3, 4]], np.float32)
    assert output(np.array([], np.float32), "float32", None) == []
    assert output(np.array([True, False]), "bool", 2) == [True, False]
    assert output(matrix, "float32", 2, 2, method=FILE_LOADS) == [[1.5, "NaN"], [3.0, 4.0]]
    assert output(matrix, "float32", 2, 2, method=STREAMING_INSERTS) == '[[1.5,"NaN"],[3.0,4.0]]'


def test_strings_are_kept_also_those_that_are_base64() -> None:
    encoded = b64encode(b"\xff\x00not text").decode()
    assert output(encoded, "string") == encoded
    assert output(np.array([encoded, "täxt", ""], object), "string", 3) == [encoded, "täxt", ""]


def test_json_is_sent_in_ascii_and_read_back_the_same() -> None:
    record = replace(prediction(), attributes={"tag": '数字\n"x"', "nested": [{"deep": None}]})
    sent = row(record)["attributes"]
    assert sent.isascii()
    assert json.loads(sent) == record.attributes
    assert row(record, method=FILE_LOADS)["attributes"] == record.attributes


@pytest.mark.parametrize("method", METHODS)
def test_an_output_has_the_name_that_bigquery_takes(method: str) -> None:
    spec = TensorSpec("StatefulPartitionedCall:0", "int64", (None,))
    record = prediction(**{spec.name: np.int64(1)})
    assert row(record, spec, method=method)["outputs"] == {"StatefulPartitionedCall_0": 1}


def test_an_output_of_no_fixed_rank_is_json() -> None:
    spec = TensorSpec("x", "float32", None)
    assert row(prediction(x=np.float32(1.5)), spec)["outputs"]["x"] == "1.5"
    assert row(prediction(x=np.ones((1, 2))), spec)["outputs"]["x"] == "[[1.0,1.0]]"


@pytest.mark.parametrize(
    ("value", "dtype", "dimensions", "told"),
    [
        ("seven", "int64", (), "outputs.x: 'seven' is no int64"),
        (np.float64(1.5), "int64", (), "outputs.x: 1.5 is no int64"),
        (True, "int64", (), "outputs.x: True is no int64"),
        (2**63, "int64", (), "outputs.x: 9223372036854775808 has more than 64 bits"),
        (1, "bool", (), "outputs.x: 1 is no bool"),
        (1, "string", (), "outputs.x: 1 is no string"),
        ("1.5", "float32", (), "outputs.x: '1.5' is no float32"),
        (["NaN", "nan"], "float32", (2,), "outputs.x: 'nan' is no float32"),
        ([1.0, None], "float32", (2,), "outputs.x: None is no float32"),
        (None, "float32", (2,), "outputs.x: null"),
        (1.0, "float32", (2,), "outputs.x: 1.0 is no list"),
        ([1.0], "float32", (), "outputs.x: [1.0] is a list"),
        ({"a": 1}, "string", (), "outputs.x: {'a': 1} is no string"),
        ([[1]], "int64", (1,), "outputs.x: [1] is no int64"),
        (["x" * 1000], "int64", (1,), "outputs.x: '" + "x" * 99 + "... is no int64"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_value_of_another_type_is_refused_by_name(
    value: Any, dtype: str, dimensions: tuple[int, ...], told: str, method: str
) -> None:
    with pytest.raises(RowRefused) as raised:
        output(value, dtype, *dimensions, method=method)
    assert str(raised.value).startswith(told)


def test_a_null_in_a_required_column_is_refused() -> None:
    with pytest.raises(RowRefused, match=r"^prediction_id: null"):
        row(replace(prediction(), prediction_id=None))  # type: ignore[arg-type]


def test_outputs_that_the_table_does_not_have_or_the_record_lacks_are_refused() -> None:
    with pytest.raises(RowRefused, match=r"^outputs\.more: the table has no such column"):
        row(prediction(more=1))
    with pytest.raises(RowRefused, match=r"^outputs\.less: the record has no value"):
        row(prediction(), TensorSpec("less", "int64", (None,)))


@pytest.mark.parametrize("attribute", ["\udc80", 2**64])
def test_what_json_cannot_hold_is_refused(attribute: Any) -> None:
    with pytest.raises(RowRefused, match="cannot be written as JSON"):
        row(replace(prediction(), attributes={"a": attribute}))


def test_json_that_nests_deeper_than_bigquery_takes_is_refused() -> None:
    nested: Any = 1
    for _ in range(501):
        nested = [nested]
    with pytest.raises(RowRefused, match="cannot be written as JSON"):
        row(replace(prediction(), attributes={"a": nested}))


@pytest.mark.parametrize("method", [STREAMING_INSERTS, STORAGE_WRITE_API])
def test_a_row_over_10_megabytes_is_refused_but_by_loads(method: str) -> None:
    record = replace(prediction(), attributes={"text": "x" * 10_000_000})
    with pytest.raises(RecordTooLarge, match=r"the row has 10,000,\d+ bytes, and BigQuery takes 9,990,000"):
        row(record, method=method)
    assert row(record, method=FILE_LOADS)["attributes"] == record.attributes


def test_a_row_over_100_megabytes_is_refused_by_loads() -> None:
    with pytest.raises(RecordTooLarge, match="BigQuery takes 100,000,000 by FILE_LOADS"):
        row(replace(prediction(), model="x" * 100_000_000), method=FILE_LOADS)


def test_a_row_is_measured_as_it_is_sent() -> None:
    output("é" * 1_600_000, "string")  # six bytes each, where an insert is written
    with pytest.raises(RecordTooLarge):
        output("é" * 1_700_000, "string")


def test_rows_for_the_storage_write_api_are_beams() -> None:
    specs = (
        TensorSpec("label", "int64", (None,)),
        TensorSpec("scores", "float32", (None, 3)),
        TensorSpec("hash", "uint64", (None,)),
        TensorSpec("box", "float32", (None, 2, 2)),
        TensorSpec("names", "string", (None, None)),
    )
    record = prediction(
        label=np.int64(2**62 + 1),
        scores=np.array([np.nan, np.inf, 0.5], np.float32),
        hash=np.uint64(2**64 - 1),
        box=np.zeros((2, 2), np.float32),
        names=np.array(["a"], object),
    )
    schema = {"fields": bigquery_schema(Prediction, signature(*specs))}
    fields = get_beam_typehints_from_tableschema(schema, {"JSON": str})
    coder = registry.get_coder(RowTypeConstraint.from_fields(fields))

    made = beam_row_from_dict(row(record, *specs, method=STORAGE_WRITE_API), schema)
    read = coder.decode(coder.encode(made))

    assert read.outputs.label == 2**62 + 1
    assert str(list(read.outputs.scores)) == "[nan, inf, 0.5]"
    assert read.outputs.hash == Decimal(2**64 - 1)
    assert read.outputs.box == "[[0.0,0.0],[0.0,0.0]]"
    assert list(read.outputs.names) == ["a"]
    assert read.attributes == '{"shop":5}'
    assert read.predicted_at.to_utc_datetime(has_tz=True) == AT
