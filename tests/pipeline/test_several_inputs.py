"""Models with several inputs, from a list and the command line to the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.exit_codes import DONE, WRONG_USAGE
from tests.conftest import IMAGES, MODEL, Run, run
from tests.transforms.toy_models import save_numbered

COUNT = 40


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_numbered(tmp_path_factory.mktemp("models") / "numbered")


def predict(model: str, folder: Path, attributes: list[dict[str, Any]]) -> Run:
    """Predict on a list of files, each as long as its position, with these attributes."""
    lines = []
    for position, known in enumerate(attributes):
        file = folder / f"{position}.bin"
        file.write_bytes(b"x" * (position + 1))
        lines.append(json.dumps({"uri": str(file), **known}))
    names = folder / "names.jsonl"
    names.write_text("\n".join(lines))
    flags = ("--model_inputs", "weight=0.5", "--max_batch_size", 7)
    return run("--input", f"@{names}", "--model", model, *flags, output=folder / "out")


def outputs(done: Run) -> dict[int, dict[str, Any]]:
    """Return the outputs by the positions of the files."""
    return {int(Path(row["uri"]).stem): row["outputs"] for row in done.predictions}


def expected(position: int) -> dict[str, Any]:
    return {"sequence": 1000 - position, "weighed": 0.5 * (position + 1)}


def test_each_item_is_predicted_on_with_its_own_attribute(numbered: str, tmp_path: Path) -> None:
    done = predict(numbered, tmp_path, [{"sequence": 1000 - position} for position in range(COUNT)])

    assert done.code == DONE, done.complaints
    assert outputs(done) == {position: expected(position) for position in range(COUNT)}
    assert {row["attributes"]["sequence"] for row in done.predictions} == {*range(1001 - COUNT, 1001)}


def test_a_missing_or_wrong_attribute_costs_one_dead_letter(numbered: str, tmp_path: Path) -> None:
    attributes: list[dict[str, Any]] = [{"sequence": 1000 - position} for position in range(COUNT)]
    attributes[3] = {"other": 1}
    attributes[9] = {"sequence": "[" * 5_000}

    done = predict(numbered, tmp_path, attributes)

    assert done.code == DONE, done.complaints
    letters = {Path(row["uri"]).stem: (row["stage"], row["error"]) for row in done.dead_letters}
    assert letters == {"3": ("predict", "AttributeMissing"), "9": ("predict", "AttributeInvalid")}
    assert len(done.dead_letters) == 2
    assert outputs(done) == {
        position: expected(position) for position in range(COUNT) if position not in (3, 9)
    }


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--model_inputs", "weight=2"), "--model_inputs weight is given 2 values; give it one"),
        (("--item_input", "weight"), "--item_input weight: --model_inputs gives this input one value"),
        (("--preprocess", "scale=0..1"), "--preprocess has no effect"),
        (("--engine_tolerance", "0.1"), "--engine_tolerance 0.1 has no effect with --engine tensorflow"),
    ],
)
def test_flags_without_effect_or_in_contradiction_are_refused(
    numbered: str, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    job = ("--input", IMAGES[0], "--model", numbered, "--model_inputs", "weight=1")

    done = run(*job, *flags, output=tmp_path / "out")

    assert done.code == WRONG_USAGE
    assert told in done.complaints
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_preparation_is_refused_where_the_model_reads_the_files(tmp_path: Path) -> None:
    flags = ("--input", IMAGES[0], "--model", MODEL, "--preprocess", "scale=0..1")

    done = run(*flags, output=tmp_path / "out")

    assert done.code == WRONG_USAGE
    assert "takes names; leave it out, or choose a signature that takes images as numbers" in done.complaints
