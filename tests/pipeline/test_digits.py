"""The main job: handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import DIGITS, IMAGES, MODEL, Row, Run, run
from transforms.predictors.tensorflow_runtime import import_tensorflow

CASES = {
    ("serving_default", "jsonl"): f"{DIGITS}/images/*.png",
    ("from_bytes", "parquet"): f"{DIGITS}/images/*.png",
    ("from_bytes", "csv"): f"@{DIGITS}/labels.csv",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(DIGITS.parent.parent)  # the names in labels.csv are relative to it
        return {
            (signature, form): run(
                *("--input", source, "--model", MODEL, "--signature", signature, "--output_format", form),
                output=tmp_path_factory.mktemp("out"),
            )
            for (signature, form), source in CASES.items()
        }


@pytest.fixture(scope="module")
def bare() -> dict[str, dict[str, Any]]:
    """What the model says without the pipeline, by the names of the files."""
    tf = import_tensorflow()
    loaded = tf.saved_model.load(str(MODEL))
    contents = tf.constant([path.read_bytes() for path in IMAGES])
    outputs = {name: value.numpy() for name, value in loaded.signatures["from_bytes"](contents).items()}
    return {
        path.name: {name: column[position] for name, column in outputs.items()}
        for position, path in enumerate(IMAGES)
    }


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {Path(row["uri"]).name: row for row in rows}


@pytest.mark.parametrize("case", CASES)
def test_every_image_has_one_prediction(runs: Mapping[tuple[str, str], Run], case: tuple[str, str]) -> None:
    done = runs[case]
    assert done.code == 0, done.complaints
    assert sorted(Path(row["uri"]).name for row in done.predictions) == [path.name for path in IMAGES]
    assert done.dead_letters == []


@pytest.mark.parametrize("case", CASES)
def test_at_least_97_percent_are_right(
    runs: Mapping[tuple[str, str], Run], case: tuple[str, str], labels: dict[str, int]
) -> None:
    found = by_name(runs[case].predictions)
    right = [found[name]["outputs"]["label"] == label for name, label in labels.items()]
    assert np.mean(right) >= 0.97


@pytest.mark.parametrize("case", CASES)
def test_each_prediction_is_what_the_bare_model_says(
    runs: Mapping[tuple[str, str], Run], case: tuple[str, str], bare: dict[str, dict[str, Any]]
) -> None:
    for name, row in by_name(runs[case].predictions).items():
        assert row["outputs"]["label"] == bare[name]["label"]
        np.testing.assert_allclose(row["outputs"]["scores"], bare[name]["scores"], atol=1e-5)
        assert row["outputs"]["probability"] == pytest.approx(bare[name]["probability"], abs=1e-5)


def test_a_list_s_columns_come_out_as_attributes(
    runs: Mapping[tuple[str, str], Run], labels: dict[str, int]
) -> None:
    rows = by_name(runs["from_bytes", "csv"].predictions)
    assert {name: row["attributes"] for name, row in rows.items()} == {
        name: {"label": str(label)} for name, label in labels.items()
    }


def test_ids_are_the_same_at_a_replay_and_differ_by_signature(
    runs: Mapping[tuple[str, str], Run], tmp_path: Path
) -> None:
    again = run(
        *("--input", f"{DIGITS}/images/*.png", "--model", MODEL, "--signature", "from_bytes"),
        *("--max_batch_size", 7),
        output=tmp_path,
    )
    ids = {row["prediction_id"] for row in again.predictions}
    assert ids == {row["prediction_id"] for row in runs["from_bytes", "parquet"].predictions}
    assert len(ids) == len(IMAGES)
    assert not ids & {row["prediction_id"] for row in runs["serving_default", "jsonl"].predictions}


def test_ids_are_the_same_for_a_glob_and_a_list_and_in_all_formats(
    runs: Mapping[tuple[str, str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(DIGITS.parent.parent)
    globbed = run(
        *("--input", "examples/digits/images/*.png", "--model", MODEL, "--signature", "from_bytes"),
        *("--output_format", "parquet"),
        output=tmp_path,
    )
    listed = {row["uri"]: row["prediction_id"] for row in runs["from_bytes", "csv"].predictions}
    assert {row["uri"]: row["prediction_id"] for row in globbed.predictions} == listed
    assert len(listed) == len(IMAGES)


def test_parquet_has_the_types_of_the_signature(runs: Mapping[tuple[str, str], Run]) -> None:
    (path,) = runs["from_bytes", "parquet"].output.glob("*.parquet")
    assert pq.read_metadata(path).num_rows == len(IMAGES)
    outputs = pq.read_schema(path).field("outputs").type
    assert [(field.name, field.type) for field in outputs] == [
        ("label", pa.int64()),
        ("probability", pa.float32()),
        ("scores", pa.list_(pa.field("element", pa.float32()))),
    ]


def test_the_summary_tells_what_is_in_the_files(runs: Mapping[tuple[str, str], Run]) -> None:
    for done in runs.values():
        summary = done.summary
        assert (summary["inputs"], summary["predictions"]) == (len(IMAGES), len(done.predictions))
        assert (summary["dead_letters"], summary["unaccounted"]) == ({}, 0)
        assert summary["median_batch_size"] == 32
        assert f"predictions   {len(IMAGES)}" in done.printed
        assert summary["model_version"] == done.predictions[0]["model_version"]
