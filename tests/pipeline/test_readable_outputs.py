"""`--class_names` and `--top_k`, from the command line to each format."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.cli import main

ROOT = Path(__file__).parents[2]
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def names(tmp_path: Path) -> str:
    file = tmp_path / "names.txt"
    file.write_text("\n".join(NAMES) + "\n")
    return str(file)


def _run(output: Path, *flags: str) -> int:
    job = ("--input", "examples/digits/images/01*.png", "--model", "examples/digits/model")
    return main([*job, "--output", str(output), *flags])


def _jsonl(path: Path) -> list[Row]:
    return [json.loads(line)["outputs"] for line in path.open()]


def _csv(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [
            {
                name.removeprefix("outputs."): json.loads(value)
                for name, value in row.items()
                if name.startswith("outputs.")
            }
            for row in csv.DictReader(file)
        ]


def _parquet(path: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(path)["outputs"].to_pylist()
    return rows


_READERS = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}


def _outputs(output: Path, file_format: str) -> list[Row]:
    return [
        row for path in output.glob(f"predictions-*.{file_format}") for row in _READERS[file_format](path)
    ]


@pytest.mark.parametrize("file_format", _READERS)
def test_the_best_classes_are_in_every_format(tmp_path: Path, names: str, file_format: str) -> None:
    flags = ("--class_names", names, "--top_k", "3", "--output_format", file_format)

    assert _run(tmp_path / "out", *flags) == 0

    rows = _outputs(tmp_path / "out", file_format)
    assert len(rows) == len(list(Path("examples/digits/images").glob("01*.png")))
    for row in rows:
        best = sorted(range(10), key=lambda digit: -row["scores"][digit])[:3]
        assert row["top_names"] == [NAMES[digit] for digit in best]
        assert row["top_scores"] == [row["scores"][digit] for digit in best]
        assert row["top_names"][0] == NAMES[row["label"]]


def test_without_names_the_positions_are_told(tmp_path: Path) -> None:
    assert _run(tmp_path / "out", "--top_k", "99", "--scores_output", "scores") == 0

    for row in _outputs(tmp_path / "out", "jsonl"):
        assert "top_names" not in row
        assert row["top_indexes"][0] == row["label"]
        assert sorted(row["top_indexes"]) == list(range(10))


def test_without_the_flags_nothing_is_added(tmp_path: Path) -> None:
    assert _run(tmp_path / "out") == 0

    assert {tuple(row) for row in _outputs(tmp_path / "out", "jsonl")} == {("label", "probability", "scores")}


@pytest.mark.parametrize(
    ("content", "flags", "problem"),
    [
        ("a\nb\n", (), "there are 2 names, and the output scores: float32 [?, 10] has 10 scores"),
        ("a\n\nb\n", (), "line 2 has no name"),
        (
            "\n".join(NAMES),
            ("--scores_output", "score"),
            "no such vector of numbers; those that it has: scores",
        ),
        ("\n".join(NAMES), ("--scores_output", "label"), "no such vector of numbers"),
        ("\n".join(NAMES), ("--top_k", "0"), "--top_k must be a whole number of at least 1"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, flags: tuple[str, ...], problem: str
) -> None:
    file = tmp_path / "names.txt"
    file.write_text(content)

    assert _run(tmp_path / "out", "--class_names", str(file), *flags) == 2

    assert problem in capsys.readouterr().err
    assert not list(tmp_path.glob("out/predictions-*"))
