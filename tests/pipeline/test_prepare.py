"""Deleting what an earlier run has left."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from emulators.gcloud_storage import gcloud_storage
from emulators.storage import fake_gcs_server, storage_client_of
from pipeline import prepare
from pipeline.exit_codes import DONE, FAILED
from pipeline.prepare import NotDeleted, delete_earlier
from tests.conftest import IMAGES, MODEL, run
from tests.gcloud import gcloud, offline
from transforms.predictors.daemon_pool import DaemonPool
from transforms.storage.local import LocalStorage

JOB = ("--input", IMAGES[0], "--model", MODEL)


def test_what_is_listed_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    delete_earlier([str(tmp_path / name) for name in ("a", "b", "gone already")])
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def commands(files: Sequence[str]) -> list[str]:
    first, *lines = str(NotDeleted(files, "why")).splitlines()
    assert f"{len(files):,} of the files that an earlier run has left are still there (why)" in first
    return [line.removeprefix("  ") for line in lines]


def test_each_kind_of_storage_has_its_own_command() -> None:
    assert commands(["gs://bucket/a b", "/out/a", "s3://bucket/a", "gs://bucket/b", "out/b"]) == [
        "gcloud storage rm 'gs://bucket/a b' gs://bucket/b",
        "rm -- /out/a out/b",
        "(with the tool of that storage) s3://bucket/a",
    ]


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where lists of names are written."""
    folder = tmp_path / "of lists"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_many_files_are_deleted_by_a_list_and_nothing_else_is(tmp_path: Path, lists: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    earlier = [out / f"predictions {number}\n'\"" for number in range(200)]
    for path in (*earlier, out / "predictions of the new job"):
        path.touch()
    (command,) = commands(list(map(str, earlier)))
    assert len(command) < 200
    subprocess.run(["bash", "-c", command], check=True, timeout=60)
    assert [path.name for path in out.iterdir()] == ["predictions of the new job"]
    assert len(list(lists.iterdir())) == 1


def test_many_files_in_a_bucket_are_deleted_by_a_list(lists: Path, tmp_path: Path) -> None:
    gcloud()
    with fake_gcs_server() as host, storage_client_of(host) as client, gcloud_storage(host) as storage:
        bucket = client.create_bucket("earlier")
        names = [f"out/predictions {number}" for number in range(60)]
        for name in (*names, "out/predictions of the new job"):
            bucket.blob(name).upload_from_string("")
        (command,) = commands([f"gs://earlier/{name}" for name in names])
        environment = {**offline(tmp_path), "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": storage}
        subprocess.run(
            ["bash", "-c", command], env=environment, check=True, capture_output=True, text=True, timeout=300
        )
        assert [blob.name for blob in client.list_blobs("earlier")] == ["out/predictions of the new job"]
    assert command.startswith("gcloud storage rm --read-paths-from-stdin < ")


def test_ctrl_c_when_all_is_deleted_is_no_cause_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(DaemonPool):
        def submit(self, task: Callable[[], Any]) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "DaemonPool", Interrupted)
    monkeypatch.setattr(prepare, "_is_deleted", lambda _: True)
    with pytest.raises(KeyboardInterrupt) as caught:
        delete_earlier([str(tmp_path / "gone")])
    assert caught.value.__cause__ is None


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
