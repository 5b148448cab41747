"""Which version of a model predicts, and how often it is loaded, from the command line to the records."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.exit_codes import DONE, WRONG_USAGE
from tests.conftest import IMAGES, MODEL, ROOT, run
from tests.transforms.versioned_models import STEP, publish


@pytest.mark.parametrize(("flags", "version"), [((), 2), (("--model_version", 1), 1)])
def test_the_newest_version_predicts_or_the_one_that_is_asked_for(
    tmp_path: Path, flags: tuple[object, ...], version: int
) -> None:
    models = tmp_path / "models"
    publish(models, 1)
    publish(models, 2)
    (tmp_path / "four.bin").write_bytes(b"four")

    done = run("--input", tmp_path / "four.bin", "--model", models, *flags, output=tmp_path / "out")

    assert done.code == DONE, done.complaints
    (record,) = done.predictions
    assert (record["model"], record["model_version"]) == (str(models), str(version))
    assert record["outputs"] == {"sum": STEP * version + 4}
    assert done.summary["model_version"] == str(version)


def test_a_version_that_is_not_there_is_told_before_the_start(tmp_path: Path) -> None:
    publish(tmp_path / "models", 1)
    flags = ("--input", IMAGES[0], "--model", tmp_path / "models", "--model_version", 3)

    done = run(*flags, output=tmp_path / "out")

    assert done.code == WRONG_USAGE
    assert "--model_version 3: --model" in done.complaints
    assert "has the versions 1" in done.complaints


def test_two_processes_share_one_model_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    processes = ("--direct_num_workers", 2, "--direct_running_mode", "multi_processing")

    done = run(
        *("--input", IMAGES[0].parent / "*.png", "--model", MODEL, "--signature", "from_bytes"),
        *("--model_sharing", "machine", "--max_batch_size", 8, *processes),
        output=tmp_path,
    )

    assert done.code == DONE, done.complaints
    assert sorted(row["uri"] for row in done.predictions) == [str(path) for path in IMAGES]
    assert done.dead_letters == []
    assert done.summary["model_loads"] == 1
