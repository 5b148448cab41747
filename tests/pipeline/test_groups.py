"""`--group_by`, from the command line to the records."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main

ROOT = Path(__file__).parents[2]
IMAGES = sorted((ROOT / "examples/digits/images").glob("0*.png"))


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def _run(output: Path, *flags: str) -> int:
    job = ("--input", "examples/digits/images/0*.png", "--model", "examples/digits/model")
    return main([*job, "--signature", "from_bytes", "--output", str(output), *flags])


def _records(output: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in output.glob(f"{kind}-*") for line in path.open()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_group_is_predicted_on_by_itself(tmp_path: Path, workers: str) -> None:
    flags = ("--group_by", "/(?P<hundred>0[0-9])[0-9]+", "--max_batch_size", "16")

    assert _run(tmp_path / "out", *flags, "--direct_num_workers", workers) == 0

    records = _records(tmp_path / "out", "predictions")
    assert len(records) == len(IMAGES)
    assert all(record["attributes"] == {"hundred": Path(record["uri"]).name[:2]} for record in records)
    sizes = Counter(path.name[:2] for path in IMAGES)
    batches = sum(-(-size // 16) for size in sizes.values())
    assert json.loads((tmp_path / "out/summary.json").read_text())["batches"] == batches


def test_files_in_no_group_are_dead_letters_and_accounted_for(tmp_path: Path) -> None:
    assert _run(tmp_path / "out", "--group_by", "/0([0-9])[0-4]") == 0

    records, letters = _records(tmp_path / "out", "predictions"), _records(tmp_path / "out", "dead_letters")
    matching = {path.name: path.name[1] for path in IMAGES if re.match("0[0-9][0-4]", path.name)}
    assert {Path(record["uri"]).name: record["attributes"]["group"] for record in records} == matching
    assert {letter["stage"] for letter in letters} == {"group"}
    assert len(records) + len(letters) == len(IMAGES)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["unaccounted"] == 0
    assert summary["dead_letters"] == {"group/GroupError": len(letters)}


def test_a_column_of_the_name_of_the_group_is_not_overwritten(tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text(f"uri,group\n{IMAGES[0]},mine\n")
    job = ("--input", f"@{names}", "--model", "examples/digits/model", "--output", str(tmp_path / "out"))

    assert main([*job, "--group_by", "[0-9]+"]) == 0
    (letter,) = _records(tmp_path / "out", "dead_letters")
    assert letter["error"] == "GroupError"
    assert "--group_by '(?P<NAME>...)'" in letter["message"]

    assert main([*job, "--group_by", r"(?P<number>[0-9]+)\.png", "--overwrite"]) == 0
    (record,) = _records(tmp_path / "out", "predictions")
    assert record["attributes"] == {"group": "mine", "number": IMAGES[0].stem}


def test_a_pattern_that_is_none_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path / "out", "--group_by", "[a") == 2

    assert "--group_by must be a regular expression" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
