"""The main job into a table, and the same predictions as into files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emulators.bigquery import PROJECT
from tests.conftest import DIGITS, IMAGES, MODEL, BadFile, run


@pytest.mark.parametrize("method", ["FILE_LOADS", "STREAMING_INSERTS"])
def test_every_file_has_a_row_and_every_bad_one_a_row_of_the_dead_letters(
    method: str, bigquery: Any, load_bucket: str, bad_files: list[BadFile], tmp_path: Path
) -> None:
    dataset = f"into_{method.lower()}"
    bigquery.create_dataset(dataset)
    table = f"{PROJECT}.{dataset}.predictions"
    inputs = [flag for bad in bad_files[:3] for flag in ("--input", bad.uri)]

    done = run(
        *("--input", f"{DIGITS}/images/*.png", *inputs, "--model", MODEL, "--signature", "from_bytes"),
        *("--output", f"bigquery:{table}", "--bigquery_method", method),
        *("--temp_location", f"{load_bucket}/staging", "--project", PROJECT),
        output=tmp_path,
    )

    assert done.code == 0, done.complaints
    found = {
        row["prediction_id"]: (row["uri"], row["label"], row["scores"])
        for row in bigquery.query(
            f"SELECT prediction_id, uri, outputs.label, outputs.scores FROM `{table}`"
        ).result()
    }
    assert len(found) == len(IMAGES) == len(done.predictions)
    for row in done.predictions:
        uri, label, scores = found[row["prediction_id"]]
        assert (uri, label) == (row["uri"], row["outputs"]["label"])
        assert scores == pytest.approx(row["outputs"]["scores"])
    dead = bigquery.query(f"SELECT uri, error FROM `{table}_dead_letters`").result()
    assert {(row["uri"], row["error"]) for row in dead} == {(bad.uri, bad.error) for bad in bad_files[:3]}
    assert f"bigquery:{table}" in done.printed
