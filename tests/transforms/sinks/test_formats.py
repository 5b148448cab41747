"""What is written to files, read back with the libraries that people use."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from tests.transforms.sinks.conftest import NUMBERS, OUTPUTS, SPECS, TIME, plain
from tests.transforms.storage.names import AWKWARD_NAMES
from transforms.errors import FileMissing, ParseError
from transforms.predictors.base import Signature, TensorSpec
from transforms.records import DeadLetter, FileRef, Prediction
from transforms.schemas import Record, arrow_schema
from transforms.sinks.formats import FORMATS
from transforms.sinks.parquet_format import ROWS_PER_GROUP

NAN, INFINITY = float("nan"), float("inf")

Make = Callable[..., Prediction]

SPECIALS = Signature(
    "specials",
    (),
    (
        TensorSpec("x", "float32", (None,)),
        TensorSpec("v", "float64", (None, 3)),
        TensorSpec("h", "float16", (None,)),
    ),
)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes records in a format, and returns the file."""

    def write(name: str, schema: pa.Schema, *records: Record) -> Path:
        path = tmp_path / f"records.{name}"
        writer = FORMATS[name](path.open("wb"), schema)
        for record in records:
            writer.write(record)
        writer.close()
        return path

    return write


def special(prediction: Make, x: Any, v: Any, h: Any) -> Prediction:
    outputs = {"x": np.float32(x), "v": np.array(v, np.float64), "h": np.float16(h)}
    return replace(prediction(), outputs=outputs)


@pytest.fixture
def specials(prediction: Make) -> tuple[pa.Schema, list[Record]]:
    """Return records with NaN and infinities among usual numbers, and their schema."""
    return arrow_schema(Prediction, SPECIALS), [
        special(prediction, 0.1, [0.5, 1, 2], 0.25),
        special(prediction, NAN, [NAN, 1, INFINITY], INFINITY),
        special(prediction, -INFINITY, [-INFINITY, NAN, 0], NAN),
    ]


def letters() -> list[Record]:
    return [
        DeadLetter.of(ParseError("line 3 is not JSON", 'pay,"load"\n')),
        DeadLetter.of(FileMissing("there is no file"), FileRef("a b.png", 5, 3, {"label": 3})),
    ]


class TestJsonl:
    def test_every_kind_of_output_is_read_back(
        self, written: Any, schema: pa.Schema, prediction: Make
    ) -> None:
        (line,) = written("jsonl", schema, prediction()).read_text().splitlines()
        row = json.loads(line)
        assert row["outputs"] == {name: plain(value) for name, value in OUTPUTS.items()}
        assert row["attributes"] == {"label": 3, "note": 'a,"b"\n'}
        assert row["predicted_at"] == "2026-01-02T03:04:05.678901Z"

    def test_nan_and_infinities_are_told_by_name(self, written: Any, specials: Any) -> None:
        schema, records = specials
        rows = [json.loads(line)["outputs"] for line in written("jsonl", schema, *records).open()]
        assert rows == [
            {"x": 0.1, "v": [0.5, 1, 2], "h": 0.25},
            {"x": "NaN", "v": ["NaN", 1, "Infinity"], "h": "Infinity"},
            {"x": "-Infinity", "v": ["-Infinity", "NaN", 0], "h": "NaN"},
        ]

    def test_pandas_and_pyarrow_read_it(self, written: Any, prediction: Make) -> None:
        schema = arrow_schema(Prediction, SPECIALS)
        path = written("jsonl", schema, special(prediction, 1, [1, 2, 3], 4))
        assert pd.read_json(path, lines=True)["outputs"][0]["v"] == [1, 2, 3]
        assert pyarrow.json.read_json(path).column_names == schema.names

    def test_dead_letters_are_read_back(self, written: Any, schema: pa.Schema) -> None:
        rows = [json.loads(line) for line in written("jsonl", schema, *letters()).open()]
        assert [row["payload"] for row in rows] == ['pay,"load"\n', None]
        assert [row["attributes"] for row in rows] == [{}, {"label": 3}]


class TestCsv:
    @staticmethod
    def rows(path: Path) -> list[dict[str, str]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file, strict=True))

    def test_every_kind_of_output_is_read_back(
        self, written: Any, schema: pa.Schema, prediction: Make
    ) -> None:
        (row,) = self.rows(written("csv", schema, prediction()))
        texts = {"string": OUTPUTS["string"]}
        for spec in SPECS:
            cell = row[f"outputs.{spec.name}"]
            assert (cell if spec.name in texts else json.loads(cell)) == plain(OUTPUTS[spec.name])

    def test_a_column_for_each_field_and_each_output_in_their_order(
        self, written: Any, prediction: Make
    ) -> None:
        path = written("csv", arrow_schema(Prediction, SPECIALS))
        assert path.read_text() == (
            "prediction_id,uri,generation,model,model_version,signature,outputs.x,outputs.v,outputs.h,"
            "attributes,predicted_at\n"
        )

    def test_fields_are_read_back(self, written: Any, prediction: Make) -> None:
        record = special(prediction, 0.1, [1, 2, 3], 4)
        (row,) = self.rows(written("csv", arrow_schema(Prediction, SPECIALS), record))
        assert (row["uri"], row["generation"], row["outputs.x"]) == ("a.png", "5", "0.1")
        assert json.loads(row["attributes"]) == record.attributes
        assert row["predicted_at"] == "2026-01-02T03:04:05.678901Z"

    def test_nothing_known_is_an_empty_cell(self, written: Any, prediction: Make) -> None:
        record = replace(special(prediction, 1, [1, 2, 3], 4), generation=None)
        (row,) = self.rows(written("csv", arrow_schema(Prediction, SPECIALS), record))
        assert row["generation"] == ""

    def test_nan_and_infinities_are_told_by_name(self, written: Any, specials: Any) -> None:
        schema, records = specials
        rows = self.rows(written("csv", schema, *records))
        assert [row["outputs.x"] for row in rows] == ["0.1", "NaN", "-Infinity"]
        assert [row["outputs.h"] for row in rows] == ["0.25", "Infinity", "NaN"]
        assert [json.loads(row["outputs.v"]) for row in rows] == [
            [0.5, 1, 2],
            ["NaN", 1, "Infinity"],
            ["-Infinity", "NaN", 0],
        ]

    def test_pandas_reads_the_numbers_as_numbers(self, written: Any, specials: Any) -> None:
        schema, records = specials
        column = pd.read_csv(written("csv", schema, *records))["outputs.x"]
        assert column.dtype == "float64"
        assert column[0] == 0.1
        assert math.isnan(column[1])
        assert column[2] == -INFINITY

    @pytest.mark.parametrize("name", AWKWARD_NAMES)
    def test_an_awkward_name_is_read_back(self, written: Any, prediction: Make, name: str) -> None:
        records = [replace(special(prediction, 1, [1, 2, 3], 4), uri=uri) for uri in (name, "next.png")]
        path = written("csv", arrow_schema(Prediction, SPECIALS), *records)
        assert [row["uri"] for row in self.rows(path)] == [name, "next.png"]
        options = pyarrow.csv.ParseOptions(newlines_in_values=True)
        assert pyarrow.csv.read_csv(path, parse_options=options)["uri"].to_pylist() == [name, "next.png"]
        assert pd.read_csv(path)["uri"].tolist() == [name, "next.png"]

    def test_dead_letters_are_read_back(self, written: Any) -> None:
        rows = self.rows(written("csv", arrow_schema(DeadLetter, SPECIALS), *letters()))
        assert rows[0]["payload"] == 'pay,"load"\n'
        assert [row["uri"] for row in rows] == ["", "a b.png"]
        assert [row["retryable"] for row in rows] == ["false", "false"]
        assert json.loads(rows[1]["attributes"]) == {"label": 3}


class TestParquet:
    def test_every_kind_of_output_is_read_back(
        self, written: Any, schema: pa.Schema, prediction: Make
    ) -> None:
        path = written("parquet", schema, prediction())
        (row,) = pq.read_table(path).to_pylist()
        for name, value in OUTPUTS.items():
            found = row["outputs"][name]
            assert (json.loads(found) if name.startswith("unknown") else found) == plain(value), name
        assert row["predicted_at"] == TIME
        assert json.loads(row["attributes"]) == {"label": 3, "note": 'a,"b"\n'}

    def test_the_schema_is_kept(self, written: Any, schema: pa.Schema, prediction: Make) -> None:
        assert pq.read_schema(written("parquet", schema, prediction())).equals(schema)

    def test_no_bit_of_a_number_is_lost(self, written: Any, schema: pa.Schema, prediction: Make) -> None:
        extremes: dict[str, Any] = {}
        for name in NUMBERS:
            if "int" in name:
                extremes[name] = np.dtype(name).type(np.iinfo(name).max)
                extremes[f"{name}_vector"] = np.array([np.iinfo(name).min, np.iinfo(name).max], name)
            elif "float" in name:
                extremes[name] = np.dtype(name).type(1) / np.dtype(name).type(3)
                extremes[f"{name}_matrix"] = np.full((2, 2), np.finfo(name).max, name)
        path = written("parquet", schema, prediction(**extremes))
        (row,) = pq.read_table(path).to_pylist()
        for name, value in extremes.items():
            assert row["outputs"][name] == plain(value), name

    def test_nan_and_infinities_are_themselves(self, written: Any, specials: Any) -> None:
        schema, records = specials
        outputs = pq.read_table(written("parquet", schema, *records))["outputs"].to_pylist()
        for record, found in zip(records, outputs, strict=True):
            for name, value in record.outputs.items():
                np.testing.assert_array_equal(np.asarray(found[name], value.dtype), value)

    def test_vectors_may_differ_in_length(self, written: Any, schema: pa.Schema, prediction: Make) -> None:
        vectors = [np.arange(size, dtype=np.float32) for size in (0, 1, 5)]
        path = written("parquet", schema, *[prediction(float32_vector=vector) for vector in vectors])
        found = pq.read_table(path)["outputs"].to_pylist()
        assert [row["float32_vector"] for row in found] == [vector.tolist() for vector in vectors]

    def test_pandas_reads_it(self, written: Any, specials: Any) -> None:
        schema, records = specials
        frame = pd.read_parquet(written("parquet", schema, *records))
        assert len(frame) == 3
        assert list(frame.columns) == schema.names
        assert frame["outputs"][0]["v"].tolist() == [0.5, 1, 2]

    def test_many_records_are_written_in_groups(self, written: Any, prediction: Make) -> None:
        record = special(prediction, 1, [1, 2, 3], 4)
        path = written("parquet", arrow_schema(Prediction, SPECIALS), *[record] * (ROWS_PER_GROUP + 1))
        metadata = pq.read_metadata(path)
        assert (metadata.num_rows, metadata.num_row_groups) == (ROWS_PER_GROUP + 1, 2)

    def test_dead_letters_are_read_back(self, written: Any) -> None:
        records = letters()
        rows = pq.read_table(written("parquet", arrow_schema(DeadLetter, SPECIALS), *records)).to_pylist()
        for row, record in zip(rows, records, strict=True):
            expected = {name: getattr(record, name) for name in row}
            assert {**row, "attributes": json.loads(row["attributes"])} == expected


@pytest.mark.parametrize("name", FORMATS)
class TestEveryFormat:
    def test_no_records_are_a_file_that_can_be_read(self, written: Any, schema: pa.Schema, name: str) -> None:
        path = written(name, schema)
        if name == "parquet":
            assert pq.read_table(path).num_rows == 0
        elif name == "csv":
            assert pd.read_csv(path).empty
        else:
            assert path.read_bytes() == b""

    def test_closing_closes_the_file(self, schema: pa.Schema, prediction: Make, name: str) -> None:
        file = io.BytesIO()
        writer = FORMATS[name](file, schema)
        writer.write(prediction())
        writer.close()
        assert file.closed

    def test_an_awkward_name_is_read_back(self, written: Any, prediction: Make, name: str) -> None:
        records = [replace(special(prediction, 1, [1, 2, 3], 4), uri=uri) for uri in AWKWARD_NAMES]
        path = written(name, arrow_schema(Prediction, SPECIALS), *records)
        if name == "parquet":
            found = pq.read_table(path)["uri"].to_pylist()
        elif name == "csv":
            found = [row["uri"] for row in TestCsv.rows(path)]
        else:
            found = [json.loads(line)["uri"] for line in path.open(encoding="utf-8")]
        assert found == list(AWKWARD_NAMES)
