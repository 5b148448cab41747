"""`beam-predict fetch`: a model in a bucket becomes a copy that workers find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of
from pipeline.cli import main
from pipeline.exit_codes import DONE, FAILED, WRONG_USAGE
from tests.conftest import MODEL
from transforms.predictors.cache_folders import CACHE_VARIABLE
from transforms.predictors.local_copy import local_copy

FILES = {str(path.relative_to(MODEL)): path.read_bytes() for path in MODEL.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with fake_gcs_server() as host, storage_client_of(host) as client:
        bucket = client.create_bucket("models")
        for name, content in FILES.items():
            for folder in ("digits", "versions/1", "versions/2"):
                bucket.blob(f"{folder}/{name}").upload_from_string(content)
        bucket.blob("versions/3/saved_model.pb").upload_from_string(FILES["saved_model.pb"])  # not complete
        bucket.blob("keras/digits.keras").upload_from_string(b"layers")
        yield client


@dataclass(frozen=True)
class Fetched:
    """What became of a command."""

    code: int
    printed: str
    complaints: str


Fetch = Callable[..., Fetched]


@pytest.fixture
def fetch(client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Run the command where the environment names no folder."""
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)

    def run(*flags: object) -> Fetched:
        code = main(["fetch", *map(str, flags)])
        return Fetched(code, *capsys.readouterr())

    return run


@dataclass(frozen=True)
class Case:
    """A model, and what workers look for."""

    flags: tuple[str, ...]
    found: str
    told: str
    files: dict[str, bytes] = field(default_factory=lambda: FILES)


@pytest.mark.parametrize(
    "case",
    [
        Case(("gs://models/digits",), "gs://models/digits", "gs://models/digits: "),
        Case(("gs://models/versions",), "gs://models/versions/2", "gs://models/versions version 2: "),
        Case(
            ("gs://models/versions", "--model_version", "1"),
            "gs://models/versions/1",
            "gs://models/versions version 1: ",
        ),
        Case(
            ("gs://models/keras",),
            "gs://models/keras/digits.keras",
            "gs://models/keras: ",
            {"digits.keras": b"layers"},
        ),
    ],
    ids=["a model", "the newest complete version", "an older version", "a folder that holds a file"],
)
def test_a_model_is_copied_to_where_workers_look(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    folder = tmp_path / "for" / "an image"
    done = fetch("--model", *case.flags, "--folder", folder)
    assert done.code == DONE
    first, second, third = done.printed.splitlines()
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    copy = Path(local_copy(case.found))
    assert first == f"{case.told}{copy}"
    size = sum(map(len, case.files.values()))
    assert second.strip().startswith(f"{size:,} bytes in {len(case.files)} file")
    assert f"{CACHE_VARIABLE}={folder}" in third
    top = copy.parent if copy.is_file() else copy
    files = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    assert files == case.files


def test_the_folder_can_be_read_by_whoever_an_image_runs_as(fetch: Fetch, tmp_path: Path) -> None:
    fetch("--model", "gs://models/digits", "--folder", tmp_path / "models")
    for path in (tmp_path / "models", *(tmp_path / "models").rglob("*")):
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_without_a_folder_it_is_that_of_the_environment(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    done = fetch("--model", "gs://models/digits")
    assert done.code == DONE
    assert str(tmp_path / "cache") in done.printed
    assert local_copy("gs://models/digits").startswith(str(tmp_path / "cache"))


def test_the_folder_that_is_printed_can_be_used_in_any_folder(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fetch("--model", "gs://models/digits", "--folder", "copies")
    assert f"{CACHE_VARIABLE}={tmp_path / 'copies'} " in done.printed
    assert f"gs://models/digits: {tmp_path / 'copies'}/" in done.printed


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ([], "--model is missing: pass --model gs://my-bucket/models/digits"),
        (["--model"], "--model has no value; put one behind it"),
        (
            ["--model", str(MODEL)],
            f"--model {MODEL} is on this machine already, so there is nothing to fetch",
        ),
        (
            ["--model", "gs://models/typo"],
            "--model gs://models/typo: there is no file or folder of that name",
        ),
        (["--model", "gs://models/versions", "--model_version", "7"], "has the versions 1, 2, 3"),
        (["--model", "gs://models/versions", "--model_version", "3"], "3: "),
        (["--model", "gs://models/digits", "--folder", ""], "--folder must not be empty"),
        (["--model", "gs://models/digits", "--folder", "gs://models/copies"], "no folder of this machine"),
        (["--model", "gs://models/digits", "--folder", "FILE"], "FILE cannot be used"),
        (["--model", "gs://models/digits", "--folder", "FILE/below"], "FILE/below cannot be used"),
        (["--model", "gs://models/digits", "--folder", "/proc/models"], "/proc/models cannot be used"),
        (["--model", "gs://models/digits", "--signature", "from_bytes"], "--signature"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_copied(
    fetch: Fetch, empty: Path, flags: list[str], complaint: str
) -> None:
    done = fetch(*flags)
    assert done.code == WRONG_USAGE
    assert complaint in done.complaints
    assert "beam-predict fetch: nothing was started" in done.complaints
    assert [path.name for path in empty.iterdir()] == ["FILE"]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder that has nothing but a file."""
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_bytes(b"")
    return tmp_path


def test_all_that_is_wrong_is_told_at_once(fetch: Fetch) -> None:
    done = fetch("--model", MODEL, "--folder", "gs://models/copies")
    assert done.code == WRONG_USAGE
    assert "nothing to fetch" in done.complaints
    assert "no folder of this machine" in done.complaints


def test_a_disk_that_is_full_fails_with_the_reason(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = fetch("--model", "gs://models/digits", "--folder", tmp_path)
    assert done.code == FAILED
    assert "gs://models/digits cannot be copied to this machine: [Errno 28]" in done.complaints


def test_the_help_tells_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fetch", "--help"])
    told = capsys.readouterr().out
    assert all(flag in told for flag in ("--model ", "--model_version", "--folder"))
    assert "--signature" not in told
