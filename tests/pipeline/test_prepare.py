"""Deleting what an earlier run has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.exit_codes import DONE, FAILED
from pipeline.prepare import NotDeleted, delete_earlier
from tests.conftest import IMAGES, MODEL, run
from transforms.storage.local import LocalStorage

JOB = ("--input", IMAGES[0], "--model", MODEL)


def test_what_is_listed_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    delete_earlier([str(tmp_path / name) for name in ("a", "b", "gone already")])
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_many_files_that_are_left_make_several_commands() -> None:
    names = [f"gs://bucket/out/predictions {number}" for number in range(120)]
    _, *commands = str(NotDeleted(names, "why")).splitlines()
    assert [command.count("gs://") for command in commands] == [50, 50, 20]
    assert all(
        command.startswith("  gcloud storage rm 'gs://bucket/out/predictions ") for command in commands
    )
    assert "1,000 of the files" in str(NotDeleted(["a"] * 1_000, "why"))


def test_here_nothing_is_started_beside_what_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(*JOB, output=tmp_path)
    assert first.code == DONE
    (predictions,) = tmp_path.glob("predictions-*")
    delete = LocalStorage.delete

    def refused(storage: LocalStorage, uri: str) -> None:
        if uri == str(predictions):
            raise PermissionError(f"{uri} may not be deleted")
        delete(storage, uri)

    monkeypatch.setattr(LocalStorage, "delete", refused)
    again = run(*JOB, "--overwrite", output=tmp_path)
    assert again.code == FAILED
    assert "nothing was started. --overwrite: 1 of the files" in again.complaints
    assert f"may not be deleted); this deletes them:\n  rm -- {predictions}\n" in again.complaints
    assert "Traceback" not in again.complaints
