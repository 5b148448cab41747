"""The end of a run, in numbers."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.exit_codes import DONE, FAILED, TOO_MANY_DEAD_LETTERS
from pipeline.run import exit_code
from pipeline.summary import Summary, median
from tests.conftest import IMAGES, MAX_FILE_BYTES, MODEL, BadFile, run

SUMMARY = Summary(
    inputs=10,
    skipped={},
    predictions=8,
    dead_letters={"read/FileMissing": 1, "decode/DecodeError": 1},
    unaccounted=0,
    batches=1,
    median_batch_size=8.0,
    model="model",
    model_version="1",
    signature="serving_default",
    engines={},
    engine_speedups={},
    engines_refused={},
    version_swaps=0,
    versions_refused=0,
    requests=0,
    retries=0,
    request_failures={},
    throttled_seconds=0.0,
    model_loads=1,
    model_load_seconds=1.0,
    warm_up_seconds=0.1,
    seconds=2.0,
    files_per_second=4.0,
    bytes_per_second=2_500_000.0,
    outputs=["out/predictions-*.jsonl"],
    dead_letters_outputs=["out/dead_letters-*.jsonl"],
)


def test_the_median_is_that_of_the_values() -> None:
    chance = random.Random(0)
    for size in range(1, 60):
        values = [chance.randint(1, 9) for _ in range(size)]
        assert median(Counter(values)) == statistics.median(values)
    assert median({}) is None


@pytest.mark.parametrize(
    ("changes", "allowed", "code"),
    [
        ({}, 1.0, DONE),
        ({}, 0.2, DONE),
        ({}, 0.19, TOO_MANY_DEAD_LETTERS),
        ({"unaccounted": 1}, 1.0, FAILED),
        ({"inputs": 0, "predictions": 0, "dead_letters": {}}, 0.0, DONE),
    ],
)
def test_the_exit_code_follows_from_it(changes: dict[str, int], allowed: float, code: int) -> None:
    assert exit_code(replace(SUMMARY, **changes), allowed) == code  # type: ignore[arg-type]


def test_it_reads_well() -> None:
    assert str(SUMMARY).splitlines() == [
        "Done in 2.0 s",
        "  inputs                10",
        "  predictions           8",
        "  dead letters          2",
        "    decode/DecodeError  1",
        "    read/FileMissing    1",
        "  batches               1, of 8 files (median)",
        "  model                 model serving_default, version 1",
        "  loaded in             1.0 s, warmed up in 0.1 s",
        "  speed                 4.0 files/s, 2.5 MB/s",
        "  output                out/predictions-*.jsonl",
        "  dead letters in       out/dead_letters-*.jsonl",
    ]


def test_what_was_skipped_and_several_outputs_have_lines_of_their_own() -> None:
    table = "bigquery:my-project.digits.predictions"
    lines = str(
        replace(SUMMARY, skipped={"duplicate": 3}, outputs=["out/predictions-*.jsonl", table])
    ).splitlines()
    assert "  skipped, duplicate    3" in lines
    assert lines[-3:-1] == [
        "  output                out/predictions-*.jsonl",
        f"                        {table}",
    ]


def test_requests_to_an_endpoint_have_a_line_in_the_place_of_the_loading() -> None:
    quiet = str(replace(SUMMARY, requests=12)).splitlines()
    assert "  requests              12" in quiet
    assert not [line for line in quiet if "loaded in" in line]

    failures = {"503": 300, "timeout": 12}
    busy = replace(SUMMARY, requests=1_312, retries=312, request_failures=failures, throttled_seconds=4.21)
    line = "1,312; 312 of them again; failed: 300 503, 12 timeout; throttled for 4.2 s"
    assert f"  requests              {line}" in str(busy).splitlines()


def test_what_is_lost_stands_out() -> None:
    assert "UNACCOUNTED           1" in str(replace(SUMMARY, unaccounted=1))


def test_its_numbers_are_those_of_the_files(
    mixed_list: Path, bad_files: Sequence[BadFile], tmp_path: Path
) -> None:
    flags = ("--signature", "from_bytes", "--max_batch_size", 7, "--max_file_bytes", MAX_FILE_BYTES)
    done = run("--input", f"@{mixed_list}", "--model", MODEL, *flags, output=tmp_path)
    summary = done.summary

    kinds = Counter(f"{row['stage']}/{row['error']}" for row in done.dead_letters)
    assert summary["dead_letters"] == dict(kinds)
    assert summary["predictions"] == len(done.predictions)
    assert summary["inputs"] == len(done.predictions) + len(done.dead_letters)
    assert summary["unaccounted"] == 0
    assert summary["median_batch_size"] <= 7
    assert summary["batches"] >= len(done.predictions) / 7
    assert summary["model"] == str(MODEL)
    assert summary["model_loads"] == 1
    assert {row["signature"] for row in done.predictions} == {summary["signature"]}
    assert summary["files_per_second"] == pytest.approx(len(IMAGES) / summary["seconds"], rel=0.01)

    decoded = [Path(bad.uri) for bad in bad_files if bad.stage == "decode"]  # which were read before
    read = sum(path.stat().st_size for path in [*IMAGES, *decoded])
    assert summary["bytes_per_second"] == pytest.approx(read / summary["seconds"], rel=0.01)

    assert sorted(tmp_path.glob("*.jsonl")) == sorted(
        path
        for pattern in (*summary["outputs"], *summary["dead_letters_outputs"])
        for path in tmp_path.glob(Path(pattern).name)
    )


def test_the_terminal_shows_the_same_numbers(
    mixed_list: Path, bad_files: Sequence[BadFile], tmp_path: Path
) -> None:
    flags = ("--input", f"@{mixed_list}", "--model", MODEL, "--max_file_bytes", MAX_FILE_BYTES)
    done = run(*flags, output=tmp_path)
    assert done.printed == f"{Summary(**done.summary)}\n"
    assert f"dead letters {len(bad_files)} " in " ".join(done.printed.split())
