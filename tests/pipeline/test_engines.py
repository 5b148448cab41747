"""`--engine`, from the command line to the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from tests.transforms.predictors.engines.installed import require

DIGITS = Path(__file__).parents[2] / "examples/digits"


def _run(output: Path, *flags: str) -> int:
    job = ("--input", str(DIGITS / "images/*.png"), "--model", str(DIGITS / "model"))
    return main([*job, "--signature", "from_images", "--output", str(output), *flags])


def _summary(output: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((output / "summary.json").read_bytes())
    return summary


def _labels(output: Path) -> dict[str, int]:
    lines = [line for file in output.glob("predictions-*.jsonl") for line in file.read_text().splitlines()]
    records = map(json.loads, lines)
    return {record["uri"]: record["outputs"]["label"] for record in records}


def test_auto_predicts_the_same_and_tells_what_it_chose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("openvino")
    require("litert")

    assert _run(tmp_path / "tensorflow") == 0
    assert _run(tmp_path / "auto", "--engine", "auto") == 0

    assert _labels(tmp_path / "auto") == _labels(tmp_path / "tensorflow")
    summary = _summary(tmp_path / "auto")
    assert sum(summary["engines"].values()) == summary["model_loads"]
    assert summary["engine_speedups"].keys() == {"litert", "openvino"}
    assert summary["engines_refused"] == {}
    (chosen,) = summary["engines"]
    assert f"engine        {chosen}; litert " in capsys.readouterr().out
    assert _summary(tmp_path / "tensorflow")["engines"] == {}


@pytest.mark.parametrize("engine", ["openvino", "litert"])
def test_a_named_engine_predicts_the_same(tmp_path: Path, engine: str) -> None:
    require(engine)

    assert _run(tmp_path / "tensorflow") == 0
    assert _run(tmp_path / engine, "--engine", engine) == 0

    assert _labels(tmp_path / engine) == _labels(tmp_path / "tensorflow")
    assert _summary(tmp_path / engine)["engines"] == {engine: 1}


def test_an_engine_that_is_not_exact_enough_stops_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("openvino")

    code = _run(tmp_path, "--engine", "openvino", "--engine_tolerance", "0")

    assert code == 1
    err = capsys.readouterr().err
    assert "--engine openvino: its output" in err
    assert "and --engine_tolerance is 0; pass --engine auto or tensorflow" in err


def test_auto_leaves_it_out(tmp_path: Path) -> None:
    require("openvino")

    assert _run(tmp_path, "--engine", "auto", "--engine_tolerance", "0") == 0

    summary = _summary(tmp_path)
    assert summary["engines"] == {"tensorflow": 1}
    assert "openvino" in summary["engines_refused"]


def test_wrong_values_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, "--engine", "open", "--engine_tolerance", "-1") == 2
    err = capsys.readouterr().err
    assert "--engine must be one of tensorflow, openvino, litert, auto (did you mean openvino?)" in err
    assert "--engine_tolerance must be a number from 0 to 1; got '-1'" in err
