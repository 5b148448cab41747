"""The end of a run, in numbers."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.counts import median, percentiles
from pipeline.exit_codes import DONE, FAILED, TOO_MANY_DEAD_LETTERS
from pipeline.run import exit_code
from pipeline.summary import Summary
from tests.conftest import IMAGES, MAX_FILE_BYTES, MODEL, BadFile, run
from transforms.buckets import ERROR, PREDICT_MSEC

SUMMARY = Summary(
    inputs=10,
    skipped={},
    predictions=8,
    dead_letters={"read/FileMissing": 1, "decode/DecodeError": 1},
    unaccounted=0,
    batches=1,
    median_batch_size=8.0,
    batch_fill=0.25,
    predict_seconds={"median": 0.0135, "p95": 0.269, "p99": 11.0},
    arrival_to_prediction_seconds={},
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
        "  batches               1, of 8 files (median), 25% full",
        "  a batch took          14 ms (median), 269 ms (95%), 11 s (99%)",
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


def test_an_endpoint_has_requests_in_the_place_of_a_loading() -> None:
    quiet = str(replace(SUMMARY, requests=12, model_load_seconds=0.001)).splitlines()
    assert "  requests              12" in quiet
    assert not [line for line in quiet if "loaded in" in line]

    failures = {"503": 300, "timeout": 12}
    busy = replace(SUMMARY, requests=1_312, retries=312, request_failures=failures, throttled_seconds=4.21)
    line = "1,312; 312 of them again; failed: 300 503, 12 timeout; throttled for 4.2 s"
    assert f"  requests              {line}" in str(busy).splitlines()


def test_the_time_from_arrival_has_a_line_where_it_is_known() -> None:
    seconds = {"median": 1.52, "p95": 3.0, "p99": 7.0}
    lines = str(replace(SUMMARY, arrival_to_prediction_seconds=seconds)).splitlines()
    assert "  from arrival          1.5 s (median), 3.0 s (95%), 7.0 s (99%)" in lines


def test_percentiles_are_those_of_what_each_worker_counted() -> None:
    chance = random.Random(1)
    msec = [chance.lognormvariate(3, 1) for _ in range(1_500)]
    counts: Counter[str] = Counter()
    for worker in range(3):
        counts.update(dict(PREDICT_MSEC.count(msec[worker::3])))
    every = statistics.quantiles(msec, n=100, method="inclusive")
    found = percentiles(PREDICT_MSEC, counts)
    for name, place in (("median", 49), ("p95", 94), ("p99", 98)):
        assert found[name] * 1_000 == pytest.approx(every[place], rel=ERROR + 0.02)
    assert percentiles(PREDICT_MSEC, {}) == {}


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
    decodable = len(done.predictions) + sum(
        row["stage"] in {"decode", "predict"} for row in done.dead_letters
    )
    assert summary["batch_fill"] == pytest.approx(decodable / summary["batches"] / 7, abs=0.001)
    median, p95, p99 = summary["predict_seconds"].values()
    assert 0 < median <= p95 <= p99 < summary["seconds"]
    assert summary["arrival_to_prediction_seconds"] == {}
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
