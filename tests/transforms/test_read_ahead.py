"""Reading the files of the next batches while the present one is used."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of
from transforms import storage
from transforms.errors import (
    EmptyFile,
    FileMissing,
    FileTooLarge,
    NotAFile,
    StorageUnavailable,
    UnsupportedLocation,
)
from transforms.read_ahead import ReadAhead, ReadLimits
from transforms.records import FileBytes, FileRef
from transforms.storage.local import LocalStorage

SECONDS = 10.0
LIMITS = ReadLimits(threads=4, max_file_bytes=1_000, ahead_bytes=10_000, content=True)

Opened = Callable[..., ReadAhead[Any]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Return a function that makes a `ReadAhead`, which is closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(**limits: Any) -> ReadAhead[Any]:
            ahead: ReadAhead[Any] = ReadAhead(ReadLimits(**{**vars(LIMITS), **limits}))
            stack.callback(ahead.close)
            return ahead

        yield make


class GatedStorage(LocalStorage):
    """The files of this machine, none of which is read before its gate is opened."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: set[str] = set()
        self._reading: set[str] = set()
        self._all_open = False

    def read(self, ref: FileRef, max_bytes: int) -> bytes:
        with self._changed:
            self._reading.add(ref.uri)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._all_open or ref.uri in self._open, SECONDS)
            self._reading.remove(ref.uri)
            self._changed.notify_all()
        return super().read(ref, max_bytes)

    def wait_for_readers(self, *uris: str) -> None:
        """Wait until exactly these files are being read."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._reading == set(uris), SECONDS), self._reading

    def wait_for_count(self, count: int) -> None:
        """Wait until this many files are being read; which of those that wait goes first is not promised."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._reading) == count, SECONDS), self._reading

    def reading(self, seconds: float = 0.05) -> set[str]:
        """Return the files that are being read, after time enough for one more."""
        with self._changed:
            self._changed.wait(seconds)
            return set(self._reading)

    def open(self, *uris: str) -> None:
        with self._changed:
            self._open.update(uris)
            self._changed.notify_all()

    def open_all(self) -> None:
        with self._changed:
            self._all_open = True
            self._changed.notify_all()


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> Iterator[GatedStorage]:
    gated = GatedStorage()
    monkeypatch.setattr(storage, "storage_of", lambda uri: gated)
    yield gated
    gated.open_all()


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[FileRef]]:
    """Return a function that writes files of given sizes, and returns them as a listing would."""

    def write(*sizes: int) -> list[FileRef]:
        refs = []
        for size in sizes:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.bin"
            path.write_bytes(b"x" * size)
            refs.append(LocalStorage().stat(str(path)))
        return refs

    return write


def taken(ahead: ReadAhead[Any]) -> Any:
    """Take the next batch, within seconds."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ahead.take).result(SECONDS)


def outcome_of(ahead: ReadAhead[Any], ref: FileRef) -> Any:
    ahead.put([ref], None)
    ((_, outcome),) = taken(ahead)[1]
    return outcome


class TestOutcomes:
    def test_a_file_comes_with_its_bytes_generation_size_and_attributes(
        self, tmp_path: Path, opened: Opened
    ) -> None:
        uri = str(tmp_path / "a.png")
        Path(uri).write_bytes(b"content")
        known = LocalStorage().stat(uri)
        outcome = outcome_of(opened(), FileRef(uri, attributes={"label": 3}))
        assert outcome == FileBytes(
            FileRef(uri, generation=known.generation, size=7, attributes={"label": 3}), b"content"
        )

    def test_without_content_a_file_is_only_looked_at(self, tmp_path: Path, opened: Opened) -> None:
        uri = str(tmp_path / "a.png")
        Path(uri).write_bytes(b"content")
        outcome = outcome_of(opened(content=False), FileRef(uri))
        assert outcome == FileBytes(LocalStorage().stat(uri), None)

    @pytest.mark.parametrize("content", [True, False])
    @pytest.mark.parametrize("known", [True, False], ids=["listed", "named"])
    def test_each_bad_file_has_its_own_error(
        self, tmp_path: Path, opened: Opened, content: bool, known: bool
    ) -> None:
        ahead = opened(content=content, max_file_bytes=5)
        large, empty = tmp_path / "large", tmp_path / "empty"
        large.write_bytes(b"123456")
        empty.write_bytes(b"")
        for path, error in ((large, FileTooLarge), (empty, EmptyFile)):
            ref = LocalStorage().stat(str(path)) if known else FileRef(str(path))
            assert type(outcome_of(ahead, ref)) is error
        assert type(outcome_of(ahead, FileRef(str(tmp_path / "missing")))) is FileMissing
        assert type(outcome_of(ahead, FileRef(str(tmp_path)))) is NotAFile
        assert type(outcome_of(ahead, FileRef("nowhere://a.png"))) is UnsupportedLocation

    def test_a_generation_that_is_given_is_the_one_that_is_read(self, opened: Opened) -> None:
        with fake_gcs_server() as host, storage_client_of(host) as client:
            blob = client.create_bucket("bucket").blob("a.png")
            blob.upload_from_string(b"one")
            old = blob.generation
            blob.upload_from_string(b"two")
            ahead = opened()
            new = FileRef("gs://bucket/a.png", generation=blob.generation)
            assert outcome_of(ahead, new).content == b"two"
            assert type(outcome_of(ahead, FileRef("gs://bucket/a.png", generation=old))) is FileMissing

    def test_what_a_storage_does_not_foresee_costs_its_file_only(
        self, opened: Opened, files: Any, gated: GatedStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        good, bad = files(3, 3)
        gated.open_all()

        def fail(ref: FileRef, max_bytes: int) -> bytes:
            if ref is bad:
                raise ZeroDivisionError("a bug")
            return b"123"

        monkeypatch.setattr(gated, "read", fail)
        ahead = opened()
        ahead.put([good, bad, good], None)
        outcomes = [outcome for _, outcome in taken(ahead)[1]]
        assert outcomes[0] == outcomes[2] == FileBytes(good, b"123")
        assert isinstance(outcomes[1], StorageUnavailable)
        assert str(outcomes[1]) == f"{bad.uri}: ZeroDivisionError: a bug"

    def test_a_file_that_vanishes_after_it_was_listed_is_missing(self, opened: Opened, files: Any) -> None:
        (ref,) = files(3)
        Path(ref.uri).unlink()
        assert type(outcome_of(opened(), ref)) is FileMissing


class TestContentThatWasBrought:
    REF = FileRef("pubsub:1", generation=5, attributes={"label": 3}, content=b"content")

    def test_it_is_passed_on_without_a_storage(self, opened: Opened, gated: GatedStorage) -> None:
        outcome = outcome_of(opened(), self.REF)
        assert outcome == FileBytes(FileRef("pubsub:1", 5, 7, {"label": 3}), b"content")
        assert gated.reading() == set()

    def test_it_goes_before_what_the_storage_has_under_that_name(
        self, tmp_path: Path, opened: Opened
    ) -> None:
        (tmp_path / "a.png").write_bytes(b"another")
        assert outcome_of(opened(), replace(self.REF, uri=str(tmp_path / "a.png"))).content == b"content"

    @pytest.mark.parametrize("content", [True, False])
    @pytest.mark.parametrize(("brought", "error"), [(b"", EmptyFile), (b"123456", FileTooLarge)])
    def test_its_size_is_checked_whatever_was_said(
        self, opened: Opened, content: bool, brought: bytes, error: type[Exception]
    ) -> None:
        ahead = opened(content=content, max_file_bytes=5)
        assert type(outcome_of(ahead, replace(self.REF, content=brought, size=3))) is error

    def test_a_model_that_takes_names_cannot_be_fed_with_it(self, opened: Opened) -> None:
        error = outcome_of(opened(content=False), self.REF)
        assert type(error) is UnsupportedLocation
        assert "pubsub:1 came as bytes" in str(error)

    def test_it_takes_no_room_and_gives_none_back(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened(ahead_bytes=100)
        ahead.put([replace(self.REF, content=b"x" * 500)], None)
        first, second = files(100, 100)
        taken(ahead)
        ahead.put([self.REF], None)
        ahead.put([first], None)
        gated.wait_for_readers(first.uri)
        ahead.put([second], None)
        assert gated.reading() == {first.uri}


class TestOrder:
    def test_batches_and_their_files_keep_their_order(self, opened: Opened, files: Any) -> None:
        ahead = opened(threads=8)
        batches = [files(*range(1, 1 + size)) for size in (3, 1, 7, 2, 5)]
        for number, batch in enumerate(batches):
            ahead.put(batch, number)
        assert len(ahead) == len(batches)
        for number, batch in enumerate(batches):
            tag, outcomes = taken(ahead)
            assert tag == number
            assert [ref for ref, _ in outcomes] == batch
            assert [len(outcome.content) for _, outcome in outcomes] == [ref.size for ref in batch]
        assert len(ahead) == 0

    def test_a_later_file_that_is_read_first_still_comes_later(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened()
        first, second = files(1, 2)
        ahead.put([first, second], None)
        gated.wait_for_readers(first.uri, second.uri)
        gated.open(second.uri)
        gated.wait_for_readers(first.uri)
        gated.open(first.uri)
        assert [ref for ref, _ in taken(ahead)[1]] == [first, second]


class TestOverlap:
    def test_as_many_files_are_read_at_once_as_there_are_threads(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened(threads=3)
        refs = files(1, 1, 1, 1)
        ahead.put(refs, None)
        gated.wait_for_readers(*(ref.uri for ref in refs[:3]))
        assert len(gated.reading()) == 3

    def test_the_next_batches_are_read_while_the_first_is_in_use(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened()
        first, second, third = files(1, 1, 1)
        gated.open(first.uri)
        for ref in (first, second, third):
            ahead.put([ref], None)
        taken(ahead)  # it is in use
        gated.wait_for_readers(second.uri, third.uri)

    def test_enough_is_ahead_when_every_thread_has_two_files_beyond_the_first_batch(
        self, opened: Opened, files: Any
    ) -> None:
        ahead = opened(threads=2)
        ahead.put(files(*[1] * 100), None)
        assert not ahead.is_far_ahead()
        ahead.put(files(1, 1, 1), None)
        assert not ahead.is_far_ahead()
        ahead.put(files(1), None)
        assert ahead.is_far_ahead()


class TestBound:
    def test_no_more_bytes_than_allowed_are_read_ahead(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened(threads=8, ahead_bytes=250)
        refs = files(*[100] * 6)
        for ref in refs:
            ahead.put([ref], None)
        gated.wait_for_count(2)
        assert len(gated.reading()) == 2  # 200 of 250 bytes; a third would be too much
        gated.open_all()
        for ref in refs:
            assert [taken_ref for taken_ref, _ in taken(ahead)[1]] == [ref]

    def test_the_batch_in_use_takes_no_room_from_the_next_ones(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened(ahead_bytes=100)
        first, second, third = files(100, 100, 100)
        gated.open(first.uri)
        ahead.put([first], None)
        taken(ahead)
        ahead.put([second], None)
        gated.wait_for_readers(second.uri)
        ahead.put([third], None)
        assert gated.reading() == {second.uri}

    def test_a_batch_that_is_larger_than_the_bound_passes(self, opened: Opened, files: Any) -> None:
        ahead = opened(ahead_bytes=1)
        batches = [files(100, 200, 300), files(400, 500)]
        for batch in batches:
            ahead.put(batch, None)
        for batch in batches:
            outcomes = taken(ahead)[1]
            assert [len(outcome.content) for _, outcome in outcomes] == [ref.size for ref in batch]

    @pytest.mark.parametrize("threads", [1, 2])
    def test_few_threads_and_a_narrow_bound_end_in_no_standstill(
        self, opened: Opened, files: Any, threads: int
    ) -> None:
        ahead = opened(threads=threads, ahead_bytes=10)
        batches = [files(7, 9, 11), files(3), files(20, 1), files(5, 5, 5, 5)]
        for batch in batches:
            ahead.put(batch, None)
        for batch in batches:
            assert [ref for ref, _ in taken(ahead)[1]] == batch

    def test_files_that_fail_give_their_room_back(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened(ahead_bytes=100)
        gone, there = files(100, 100)
        Path(gone.uri).unlink()
        gated.open(gone.uri)
        ahead.put([gone], None)
        ahead.put([there], None)
        gated.wait_for_readers(there.uri)  # though nothing was taken

    def test_files_that_are_only_looked_at_take_no_room(self, opened: Opened, files: Any) -> None:
        ahead = opened(content=False, ahead_bytes=1)
        refs = files(100, 100, 100)
        for ref in refs:
            ahead.put([ref], None)
        for ref in refs:
            assert [outcome for _, outcome in taken(ahead)[1]] == [FileBytes(ref, None)]


class TestClose:
    def test_closing_early_ends_the_readers_that_wait_for_room(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        before = threading.active_count()
        ahead = opened(threads=4, ahead_bytes=100)
        refs = files(100, 100, 100, 100, 100, 100)
        for ref in refs:
            ahead.put([ref], None)
        gated.wait_for_count(1)
        ahead.close()
        gated.open_all()
        deadline = time.monotonic() + SECONDS
        for thread in threading.enumerate():
            if thread.name.startswith("read"):
                thread.join(deadline - time.monotonic())
        assert threading.active_count() <= before

    def test_closing_does_not_wait_for_a_slow_storage(
        self, opened: Opened, files: Any, gated: GatedStorage
    ) -> None:
        ahead = opened()
        (ref,) = files(1)
        ahead.put([ref], None)
        gated.wait_for_readers(ref.uri)
        ahead.close()  # would stand still here, for the gate is closed
        assert gated.reading() == {ref.uri}
