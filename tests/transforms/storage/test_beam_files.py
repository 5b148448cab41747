"""Files on Beam's other file systems; here Beam's own for local paths stands for them all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from transforms.errors import FileMissing, FileTooLarge, UnsupportedLocation
from transforms.records import FileRef
from transforms.storage.beam_files import BeamStorage


def write(path: Path, content: bytes = b"content") -> str:
    path.write_bytes(content)
    return str(path)


def read(uri: str, max_bytes: int = 100) -> bytes:
    return BeamStorage().read(FileRef(uri), max_bytes)


def test_stat_tells_the_size_and_the_time_of_change_in_microseconds(tmp_path: Path) -> None:
    uri = write(tmp_path / "a b%20.png", b"12345")
    os.utime(uri, ns=(0, 1_700_000_000_123_456_000))
    assert BeamStorage().stat(uri) == FileRef(uri, generation=1_700_000_000_123_456, size=5)


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    uri = str(tmp_path / "nothing.png")
    for ask in (BeamStorage().stat, read):
        with pytest.raises(FileMissing, match="there is no file"):
            ask(uri)


def test_a_file_is_read_as_it_is_stored_whatever_its_name(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.gz", b"\x1f\x8b not really")) == b"\x1f\x8b not really"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    uri = write(tmp_path / "a.png", b"12345")
    assert read(uri, 5) == b"12345"
    with pytest.raises(FileTooLarge, match="has 5 bytes; at most 4 "):
        read(uri, 4)


def test_one_that_is_longer_than_it_says_is_refused() -> None:
    uri = "/proc/self/status"  # a regular file of 0 bytes, with content
    if not os.path.exists(uri):
        pytest.skip(f"{uri} is not there")
    with pytest.raises(FileTooLarge):
        read(uri, 10)


def test_a_pattern_lists_files_with_their_sizes_and_generations(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    uris = [write(tmp_path / name) for name in ("a.png", "b.png", "c.txt", "sub/d.png")]
    refs = sorted(BeamStorage().glob(f"{tmp_path}/*.png"), key=lambda ref: ref.uri)
    assert refs == [BeamStorage().stat(uri) for uri in uris[:2]]
    assert {ref.uri for ref in BeamStorage().glob(f"{tmp_path}/**.png")} == {*uris[:2], uris[3]}


def test_a_pattern_that_matches_nothing_lists_nothing(tmp_path: Path) -> None:
    assert list(BeamStorage().glob(f"{tmp_path}/*.png")) == []
    assert list(BeamStorage().glob(f"{tmp_path}/no folder/*.png")) == []


def test_create_makes_the_folders_and_does_not_compress(tmp_path: Path) -> None:
    uri = str(tmp_path / "new" / "a.gz")
    with BeamStorage().create(uri) as file:
        file.write(b"content")
    assert Path(uri).read_bytes() == b"content"


def test_moving_twice_is_like_moving_once(tmp_path: Path) -> None:
    source, target = write(tmp_path / "a"), str(tmp_path / "b")
    BeamStorage().move(source, target)
    BeamStorage().move(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_moving_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Rename"):
        BeamStorage().move(str(tmp_path / "a"), str(tmp_path / "b"))


def test_deleting_twice_is_like_deleting_once(tmp_path: Path) -> None:
    uri = write(tmp_path / "a")
    BeamStorage().delete(uri)
    BeamStorage().delete(uri)
    assert list(tmp_path.iterdir()) == []


def test_deleting_a_name_with_wildcards_deletes_no_other_file(tmp_path: Path) -> None:
    uri, other = write(tmp_path / "a*"), write(tmp_path / "ab")
    with pytest.raises(OSError, match="wildcards"):
        BeamStorage().delete(uri)
    assert {str(path) for path in tmp_path.iterdir()} == {uri, other}


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    for ask in (BeamStorage().stat, read, lambda uri: list(BeamStorage().glob(uri))):
        with pytest.raises(
            UnsupportedLocation, match=r"no file system is known for nowhere://a\.png; .*gs://"
        ):
            ask("nowhere://a.png")
