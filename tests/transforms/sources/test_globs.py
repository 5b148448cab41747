"""The files of a glob, and names that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from transforms import storage
from transforms.errors import ListError
from transforms.records import FileRef
from transforms.sources.globs import expand_glob


def write(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    return str(path)


def names(pattern: str) -> list[str]:
    return [ref.uri for ref in expand_glob(pattern) if isinstance(ref, FileRef)]


def test_a_pattern_lists_its_files(tmp_path: Path) -> None:
    uris = [write(tmp_path / "a.png"), write(tmp_path / "b.png")]
    write(tmp_path / "c.txt")
    assert list(expand_glob(f"{tmp_path}/*.png")) == [storage.stat(uri) for uri in uris]


def test_a_name_lists_itself(tmp_path: Path) -> None:
    uri = write(tmp_path / "a.png")
    assert list(expand_glob(uri)) == [storage.stat(uri)]


@pytest.mark.parametrize("name", ["[a].png", "a*.png", "a?.png", "**"])
def test_an_existing_file_is_taken_by_its_name_wildcards_and_all(tmp_path: Path, name: str) -> None:
    uri = write(tmp_path / name)
    write(tmp_path / "a.png")
    write(tmp_path / "ab.png")
    assert names(uri) == [uri]


def test_brackets_of_which_there_is_no_file_are_a_pattern(tmp_path: Path) -> None:
    uri = write(tmp_path / "a.png")
    assert names(f"{tmp_path}/[a].png") == [uri]


def test_a_pattern_that_matches_nothing_is_refused_with_its_rules(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "a.png")
    with pytest.raises(ListError, match=r"no file matches .*/\*\.png; `\*` stops at a slash"):
        names(f"{tmp_path}/*.png")


def test_a_pattern_below_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="no file matches"):
        names(f"{tmp_path}/nothing/*.png")


def test_a_missing_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"there is no file .*/nothing\.png"):
        names(f"{tmp_path}/nothing.png")


def test_a_folder_is_refused_with_a_pattern_for_its_files(tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"is a folder; .* give .*/\*$"):
        names(str(tmp_path))


def test_a_pattern_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    with pytest.raises(ListError):
        names(f"{tmp_path}/[z-a].png")


@pytest.mark.parametrize("pattern", ["nowhere://bucket/*", "nowhere://bucket/a.png"])
def test_an_unknown_place_is_refused(pattern: str) -> None:
    with pytest.raises(ListError, match="no file system is known for nowhere://"):
        names(pattern)


@pytest.mark.parametrize("pattern", ["gs://", "gs://bucket", "gs://bucket/", "gs://*/a.png"])
def test_a_name_in_cloud_storage_that_names_no_object_is_refused(
    monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")  # nobody is asked
    with pytest.raises(ListError, match="gs://"):
        names(pattern)
