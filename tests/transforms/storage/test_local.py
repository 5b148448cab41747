"""Files on this machine."""

from __future__ import annotations

import functools
import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.storage.names import AWKWARD_NAMES
from transforms import storage
from transforms.errors import AccessDenied, FileMissing, FileTooLarge, NotAFile, ReadError
from transforms.records import FileRef
from transforms.storage.local import LocalStorage

SECONDS = 10.0


def within_seconds(function: Callable[[], Any]) -> Any:
    """Return what a function returns, or raise what it raises; fail when it does not come back."""
    ended: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put((function(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = ended.get(timeout=SECONDS)
    except queue.Empty:
        pytest.fail(f"it did not come back within {SECONDS} s")
    if error:
        raise error
    return value


def read(uri: str, max_bytes: int = 1_000) -> bytes:
    return LocalStorage().read(FileRef(uri), max_bytes)


def listed(pattern: str) -> list[str]:
    return [ref.uri for ref in LocalStorage().glob(pattern)]


def write(path: Path, content: bytes = b"content") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def forbid(path: str | Path) -> None:
    """Take away the right to read, or skip the test where that stops nobody."""
    os.chmod(path, 0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.txt", "sub/a.png", "sub/deep/d.png", "other/a.png"):
        write(tmp_path / name, name.encode())
    return tmp_path


class TestStat:
    def test_it_tells_the_size_and_the_time_of_change_in_microseconds(self, tmp_path: Path) -> None:
        uri = write(tmp_path / "a.png", b"12345")
        os.utime(uri, ns=(0, 1_700_000_000_123_456_000))
        assert LocalStorage().stat(uri) == FileRef(uri, generation=1_700_000_000_123_456, size=5)

    def test_changed_content_has_another_generation(self, tmp_path: Path) -> None:
        uri = write(tmp_path / "a.png")
        os.utime(uri, ns=(0, 1_700_000_000_000_001_000))
        before = LocalStorage().stat(uri).generation
        os.utime(uri, ns=(0, 1_700_000_000_000_002_000))
        assert LocalStorage().stat(uri).generation != before

    def test_a_file_from_before_1970_has_a_generation(self, tmp_path: Path) -> None:
        uri = write(tmp_path / "a.png")
        os.utime(uri, (0, -1.5))
        assert LocalStorage().stat(uri).generation == -1_500_000

    def test_an_empty_file_has_size_0(self, tmp_path: Path) -> None:
        assert LocalStorage().stat(write(tmp_path / "a.png", b"")).size == 0

    def test_a_link_stands_for_its_file(self, tmp_path: Path) -> None:
        write(tmp_path / "a.png", b"12345")
        link = tmp_path / "link"
        link.symlink_to("a.png")
        assert LocalStorage().stat(str(link)).size == 5
        assert read(str(link)) == b"12345"


@pytest.mark.parametrize("name", AWKWARD_NAMES)
class TestAwkwardNames:
    def test_a_file_is_written_found_read_moved_and_deleted(self, tmp_path: Path, name: str) -> None:
        uri, moved = str(tmp_path / "new folder" / name), str(tmp_path / "new folder" / f"moved {name}")
        with storage.create(uri) as file:
            file.write(b"content")
        assert storage.exists(uri)
        assert storage.stat(uri).uri == uri
        assert storage.read(uri, 7) == b"content"
        storage.move(uri, moved)
        assert not storage.exists(uri)
        assert storage.read(moved, 7) == b"content"
        storage.delete(moved)
        assert not storage.exists(moved)

    def test_a_star_matches_it(self, tmp_path: Path, name: str) -> None:
        uri = write(tmp_path / name)
        assert listed(str(tmp_path / "*")) == [uri]


def test_a_name_that_is_not_utf8_can_be_used(tmp_path: Path) -> None:
    uri = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    try:
        Path(uri).write_bytes(b"content")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert listed(str(tmp_path / "*")) == [uri]
    assert read(uri) == b"content"


class TestWhatIsNotThere:
    @pytest.mark.parametrize(
        "name",
        ["nothing.png", "no/such/folder.png", "a.png/child", "", "nul\0byte", "x" * 300, "x/" * 3_000],
        ids=lambda name: repr(name[:10]),
    )
    def test_it_is_missing(self, tree: Path, name: str) -> None:
        uri = f"{tree}/{name}" if name else ""
        with pytest.raises(FileMissing, match="there is no file"):
            LocalStorage().stat(uri)
        with pytest.raises(FileMissing, match="there is no file"):
            read(uri)
        assert not storage.exists(uri)

    def test_a_dangling_link_is_missing(self, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to("nothing")
        with pytest.raises(FileMissing):
            read(str(link))
        assert not storage.exists(str(link))

    def test_links_in_a_circle_are_missing(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(FileMissing):
            read(str(tmp_path / "a"))

    def test_the_message_names_the_file(self, tmp_path: Path) -> None:
        uri = str(tmp_path / "no.png")
        with pytest.raises(FileMissing, match=f"^there is no file {uri}$"):
            read(uri)


class TestWhatIsNoFile:
    def test_a_folder_is_refused_with_a_pattern_for_its_files(self, tree: Path) -> None:
        for ask in (LocalStorage().stat, read, storage.exists):
            with pytest.raises(NotAFile, match=r"is a folder; .* give .*/sub/\*$"):
                ask(str(tree / "sub"))

    def test_a_pipe_without_a_writer_is_refused_at_once(self, tmp_path: Path) -> None:
        uri = str(tmp_path / "pipe")
        os.mkfifo(uri)
        for ask in (LocalStorage().stat, read):
            with pytest.raises(NotAFile, match="a device, a pipe or a socket"):
                within_seconds(functools.partial(ask, uri))

    @pytest.mark.parametrize("uri", ["/dev/zero", "/dev/null", "/dev/tty"])
    def test_a_device_is_refused(self, uri: str) -> None:
        if not os.path.exists(uri):
            pytest.skip(f"{uri} is not there")
        with pytest.raises(NotAFile):
            LocalStorage().stat(uri)
        with pytest.raises(ReadError):
            within_seconds(lambda: read(uri))

    def test_a_socket_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # the name of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
            for ask in (LocalStorage().stat, read):
                with pytest.raises(NotAFile):
                    ask("socket")


class TestRead:
    def test_a_file_as_large_as_allowed_is_read(self, tmp_path: Path) -> None:
        assert read(write(tmp_path / "a.png", b"12345"), 5) == b"12345"

    def test_a_larger_one_is_refused_with_both_sizes(self, tmp_path: Path) -> None:
        uri = write(tmp_path / "a.png", b"x" * 1_234)
        with pytest.raises(FileTooLarge, match=r"has 1,234 bytes; at most 1,233 .*--max_file_bytes"):
            read(uri, 1_233)

    @pytest.mark.parametrize("content", [b"123456", b"12", b""])
    def test_one_that_has_changed_since_it_was_listed_is_missing(
        self, tmp_path: Path, content: bytes
    ) -> None:
        uri = write(tmp_path / "a.png", b"123")
        ref = LocalStorage().stat(uri)
        write(tmp_path / "a.png", content)
        os.utime(uri, ns=(0, 1_000_000_000))
        with pytest.raises(FileMissing, match="has been overwritten: its generation is 1000000, not"):
            LocalStorage().read(ref, 5)

    def test_one_that_is_longer_than_it_says_is_refused(self) -> None:
        uri = "/proc/self/status"  # a regular file of 0 bytes, with content
        if not os.path.exists(uri):
            pytest.skip(f"{uri} is not there")
        with pytest.raises(FileTooLarge):
            read(uri, 10)

    def test_one_that_may_not_be_read_is_refused(self, tmp_path: Path) -> None:
        uri = write(tmp_path / "a.png")
        forbid(uri)
        with pytest.raises(AccessDenied, match="may not be read"):
            read(uri)


class TestGlob:
    def test_a_star_stops_at_a_slash(self, tree: Path) -> None:
        assert listed(f"{tree}/*.png") == [f"{tree}/a.png", f"{tree}/b.png"]

    def test_a_star_stands_for_folders_too(self, tree: Path) -> None:
        assert listed(f"{tree}/*/a.png") == [f"{tree}/other/a.png", f"{tree}/sub/a.png"]

    def test_two_stars_cross_slashes(self, tree: Path) -> None:
        assert sorted(listed(f"{tree}/**.png")) == sorted(map(str, tree.rglob("*.png")))
        assert listed(f"{tree}/s**/d.png") == [f"{tree}/sub/deep/d.png"]

    def test_a_question_mark_is_one_character(self, tree: Path) -> None:
        assert listed(f"{tree}/?.png") == [f"{tree}/a.png", f"{tree}/b.png"]
        assert listed(f"{tree}/??.png") == []

    def test_a_question_mark_stops_at_a_slash(self, tree: Path) -> None:
        assert listed(f"{tree}/**b?a.png") == []

    def test_brackets_are_one_of_their_characters(self, tree: Path) -> None:
        assert listed(f"{tree}/[bcd].*") == [f"{tree}/b.png", f"{tree}/c.txt"]
        assert listed(f"{tree}/[a-b].png") == [f"{tree}/a.png", f"{tree}/b.png"]
        assert listed(f"{tree}/[!a].png") == [f"{tree}/b.png"]

    @pytest.mark.parametrize("pattern", ["[", "[]", "[!]", "[z-a]", "[a", "a]*"])
    def test_strange_brackets_do_no_harm(self, tree: Path, pattern: str) -> None:
        assert listed(f"{tree}/{pattern}") == []

    def test_a_relative_pattern_gives_relative_names(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tree)
        assert listed("*.png") == ["a.png", "b.png"]
        assert listed("sub/*.png") == ["sub/a.png"]
        assert listed("s*/*.png") == ["sub/a.png"]
        assert listed("./*.png") == ["./a.png", "./b.png"]
        assert listed(f"../{tree.name}/*.txt") == [f"../{tree.name}/c.txt"]
        assert sorted(listed("**.png")) == sorted(str(path.relative_to(tree)) for path in tree.rglob("*.png"))

    def test_doubled_slashes_are_one(self, tree: Path) -> None:
        assert listed(f"{tree}//*.png") == [f"{tree}/a.png", f"{tree}/b.png"]

    def test_links_to_folders_are_followed(self, tree: Path) -> None:
        (tree / "link").symlink_to("sub")
        assert f"{tree}/link/a.png" in listed(f"{tree}/*/a.png")

    def test_the_files_have_their_sizes_and_generations(self, tree: Path) -> None:
        (ref,) = LocalStorage().glob(f"{tree}/b.p*")
        assert ref == LocalStorage().stat(f"{tree}/b.png")
        assert ref.size == 5

    def test_folders_are_not_listed(self, tree: Path) -> None:
        assert listed(f"{tree}/s*") == []

    def test_what_cannot_be_read_is_listed_so_that_reading_tells(self, tmp_path: Path) -> None:
        (tmp_path / "dangling").symlink_to("nothing")
        os.mkfifo(tmp_path / "pipe")
        refs = within_seconds(lambda: list(LocalStorage().glob(f"{tmp_path}/*")))
        assert refs == [FileRef(f"{tmp_path}/dangling"), FileRef(f"{tmp_path}/pipe")]

    @pytest.mark.parametrize("pattern", ["no such folder/*", "a.png/*", "nul\0/*", "x" * 300 + "/*"])
    def test_no_folder_means_no_files(self, tree: Path, pattern: str) -> None:
        assert listed(f"{tree}/{pattern}") == []

    def test_a_folder_that_may_not_be_listed_is_an_error(self, tree: Path) -> None:
        try:
            forbid(tree / "sub")
            with pytest.raises(AccessDenied):
                listed(f"{tree}/**.png")
        finally:
            os.chmod(tree / "sub", 0o700)


class TestCreateMoveDelete:
    def test_create_makes_the_folders(self, tmp_path: Path) -> None:
        with storage.create(str(tmp_path / "new" / "and new" / "a.txt")) as file:
            file.write(b"content")
        assert (tmp_path / "new" / "and new" / "a.txt").read_bytes() == b"content"

    def test_create_below_a_file_is_an_os_error(self, tree: Path) -> None:
        with pytest.raises(OSError, match=r"a\.png"):
            storage.create(f"{tree}/a.png/b.txt")

    def test_a_relative_name_without_a_folder_is_created(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        storage.create("a.txt").close()
        assert (tmp_path / "a.txt").exists()

    def test_moving_twice_is_like_moving_once(self, tmp_path: Path) -> None:
        source, target = write(tmp_path / "a"), str(tmp_path / "b")
        storage.move(source, target)
        storage.move(source, target)
        assert [path.name for path in tmp_path.iterdir()] == ["b"]

    def test_moving_nothing_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            storage.move(str(tmp_path / "a"), str(tmp_path / "b"))

    def test_deleting_twice_is_like_deleting_once(self, tmp_path: Path) -> None:
        uri = write(tmp_path / "a")
        storage.delete(uri)
        storage.delete(uri)
        assert not storage.exists(uri)

    def test_a_folder_is_not_deleted(self, tree: Path) -> None:
        with pytest.raises(OSError, match="sub"):
            storage.delete(f"{tree}/sub")
        assert (tree / "sub" / "a.png").exists()
