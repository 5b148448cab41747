"""Models in Cloud Storage, copied to this machine once, whoever asks and however many at a time."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of
from tests.transforms.versioned_models import wait_until
from transforms import storage
from transforms.errors import ModelError, StorageUnavailable
from transforms.predictors import local_copy as module
from transforms.predictors.cache_folders import CACHE_VARIABLE, cache_folder
from transforms.predictors.kept_copies import KEPT_COPIES, locked
from transforms.predictors.local_copy import keep_copy, local_copy
from transforms.records import FileRef

MODEL = "gs://models/digits/3"
FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"index", "assets/words.txt": b""}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Any]]:
    """Yield a real Cloud Storage server's address, and a client of it."""
    with fake_gcs_server() as host, storage_client_of(host) as client:
        client.create_bucket("models")
        yield host, client


@pytest.fixture
def bucket(server: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a bucket that holds a model, and nothing else; copies go to an empty folder."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "copies"))
    bucket = server[1].bucket("models")
    for blob in list(bucket.list_blobs()):
        blob.delete()
    upload(bucket, FILES)
    return bucket


def upload(bucket: Any, files: dict[str, bytes], folder: str = "digits/3") -> None:
    for name, content in files.items():
        bucket.blob(f"{folder}/{name}").upload_from_string(content)


def content(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def copies() -> list[str]:
    return sorted(path.name for path in cache_folder().iterdir() if path.is_dir())


class Reads:
    """The names of the objects that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        read = type(storage.storage_of(MODEL)).read

        def noted(storage: Any, ref: Any, max_bytes: int) -> bytes:
            self.names.append(ref.uri)
            return self.change(read(storage, ref, max_bytes))

        monkeypatch.setattr(type(storage.storage_of(MODEL)), "read", noted)

    def change(self, content: bytes) -> bytes:
        return content


@pytest.fixture
def reads(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def test_a_local_model_is_used_where_it_is(tmp_path: Path) -> None:
    assert local_copy(str(tmp_path)) == str(tmp_path)
    assert local_copy("digits.keras") == "digits.keras"


def test_a_folder_is_copied_whole_and_once(reads: Reads) -> None:
    copy = local_copy(MODEL)
    assert content(copy) == FILES
    assert sorted(reads.names) == sorted(f"{MODEL}/{name}" for name in FILES)
    assert local_copy(MODEL) == copy
    assert len(reads.names) == len(FILES)


def test_a_file_keeps_its_name(bucket: Any) -> None:
    upload(bucket, {"model.keras": b"layers"})
    copy = local_copy(f"{MODEL}/model.keras")
    assert Path(copy).name == "model.keras"
    assert Path(copy).read_bytes() == b"layers"


def test_a_name_may_end_in_a_slash(bucket: Any) -> None:
    assert local_copy(f"{MODEL}/") == local_copy(MODEL)


def test_a_file_is_no_folder_for_copies(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "copies").write_bytes(b"")
    with pytest.raises(ModelError, match=f"copies is a file; set {CACHE_VARIABLE} to a folder"):
        local_copy(MODEL)


def test_a_copy_has_the_name_that_it_had_when_images_were_built(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "glob", lambda _: iter([FileRef(f"{MODEL}/saved_model.pb", 1_234, 5)]))
    monkeypatch.setattr(module, "_copy_file", lambda _, target: _written(target))
    name = Path(local_copy(MODEL)).name
    assert name == "49e46ff6386feab6-a3a4408011bcb32f", "workers would not find the copies of earlier images"


def _written(target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"graph")


def test_another_content_is_another_copy(bucket: Any) -> None:
    first = local_copy(MODEL)
    upload(bucket, {"saved_model.pb": b"other"})
    second = local_copy(MODEL)
    assert content(second) == FILES | {"saved_model.pb": b"other"}
    assert content(first) == FILES  # somebody may be loading it


def test_the_copies_used_last_are_kept(bucket: Any) -> None:
    made = []
    for number in range(KEPT_COPIES + 2):
        upload(bucket, FILES, folder=f"digits/{number}")
        made.append(Path(local_copy(f"gs://models/digits/{number}")))
        os.utime(made[-1], (number, number))  # the clock may be too coarse to tell them apart
    assert copies() == sorted(path.name for path in made[2:])


def test_copies_that_were_used_lately_are_kept(bucket: Any) -> None:
    for number in range(KEPT_COPIES + 2):  # they may as well be different models, all in use
        upload(bucket, FILES, folder=f"digits/{number}")
        local_copy(f"gs://models/digits/{number}")
    assert len(copies()) == KEPT_COPIES + 2


def test_copies_that_are_to_be_kept_stay_however_many(bucket: Any) -> None:
    kept = []
    for number in range(KEPT_COPIES + 2):
        upload(bucket, FILES, folder=f"digits/{number}")
        kept.append(Path(keep_copy(f"gs://models/digits/{number}", cache_folder())))
        os.utime(kept[-1], (number, number))
    local_copy(MODEL)
    assert all(copy.exists() for copy in kept)


def test_the_mark_of_a_copy_goes_with_it(bucket: Any) -> None:
    copy = Path(keep_copy(MODEL, cache_folder()))
    shutil.rmtree(copy)
    upload(bucket, FILES, folder="digits/4")
    local_copy("gs://models/digits/4")
    assert not list(cache_folder().glob(f"{copy.name}*"))


def test_what_is_left_of_other_copies_is_deleted(bucket: Any) -> None:
    gone, held = (cache_folder() / f"{digit * 16}-{digit * 16}" for digit in "ab")
    for copy in (gone, held):
        copy.with_suffix(".lock").touch()
        (copy.with_suffix(".unfinished") / "variables").mkdir(parents=True)
    of_beam = cache_folder() / "beam-predict-0123.lock"
    of_beam.touch()
    with locked(held):  # a process is copying it
        local_copy(MODEL)
    left = {path.name for path in cache_folder().iterdir()} - set(copies())
    own = {f"{name}.lock" for name in copies() if not name.endswith(".unfinished")}
    assert left - own == {f"{held.name}.lock", of_beam.name}
    assert held.with_suffix(".unfinished").exists()
    assert not gone.with_suffix(".unfinished").exists()


def test_a_deleted_lock_locks_nobody_out_and_lets_nobody_in(tmp_path: Path) -> None:
    copy, lock = tmp_path / "copy", tmp_path / "copy.lock"
    entered = threading.Event()

    def enter() -> None:
        with locked(copy):
            entered.set()

    with locked(copy):
        waiting = threading.Thread(target=enter)
        waiting.start()
        wait_until(lambda: _waits_for(lock))
        lock.unlink()
        other = locked(copy)
        other.__enter__()  # of the file's successor
    wait_until(lambda: _waits_for(lock))
    assert not entered.is_set()
    other.__exit__(None, None, None)
    waiting.join()
    assert entered.is_set()


def _waits_for(lock: Path) -> bool:
    """Tell whether somebody waits for the lock of a file; the kernel marks them with an arrow."""
    number = f":{lock.stat().st_ino} "
    return any("->" in line and number in line for line in Path("/proc/locks").read_text().splitlines())


def test_copies_of_other_models_stay(bucket: Any) -> None:
    upload(bucket, FILES, folder="letters/1")
    other = local_copy("gs://models/letters/1")
    for number in range(KEPT_COPIES + 1):
        upload(bucket, {"saved_model.pb": b"%d" % number})
        local_copy(MODEL)
    assert content(other) == FILES


def test_a_copy_that_lost_a_file_is_made_again(bucket: Any) -> None:
    copy = local_copy(MODEL)
    Path(copy, "saved_model.pb").unlink()  # as a cleaner of temporary files does
    assert local_copy(MODEL) == copy
    assert content(copy) == FILES


def test_what_a_killed_process_left_half_done_is_not_used(bucket: Any) -> None:
    copy = Path(local_copy(MODEL))
    unfinished = copy.rename(copy.with_suffix(".unfinished"))
    (unfinished / "saved_model.pb").write_bytes(b"gr")
    (unfinished / "a file of then").write_bytes(b"")
    assert content(local_copy(MODEL)) == FILES
    assert not unfinished.exists()


def test_bytes_that_are_missing_are_noticed(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "change", lambda content: content[:-1])
    with pytest.raises(ModelError, match="bytes came, and not") as caught:
        local_copy(MODEL)
    assert isinstance(caught.value.__cause__, StorageUnavailable)
    monkeypatch.undo()


def test_large_files_are_copied_as_well(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGE_BYTES", 5)
    assert content(local_copy(MODEL)) == FILES


def test_a_model_that_is_not_there(bucket: Any) -> None:
    with pytest.raises(ModelError, match=r"--model gs://models/nothing cannot be copied.*there is no file"):
        local_copy("gs://models/nothing")


def test_a_full_disk_may_pass(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ModelError, match="No space left") as caught:
        local_copy(MODEL)
    assert isinstance(caught.value.__cause__, StorageUnavailable)


@pytest.mark.parametrize("name", ["../../../evil", "//tmp/evil", "3//evil", "3/./evil", "/../evil"])
def test_no_name_leads_out_of_the_copy(bucket: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def listed(_: str) -> Iterator[FileRef]:  # the server itself cleans some of these names
        yield FileRef(f"gs://models/digits/{name}", 1, 0)

    def written(*_: object) -> None:
        raise AssertionError("something was copied")

    monkeypatch.setattr(storage, "glob", listed)
    monkeypatch.setattr(module, "_copy_file", written)
    with pytest.raises(ModelError, match="would lead out"):
        local_copy("gs://models/digits")


def test_a_folder_of_another_user_is_not_trusted(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(os.environ[CACHE_VARIABLE]).mkdir()
    Path(os.environ[CACHE_VARIABLE]).chmod(0o770)  # even if root's: its group might have put a model there
    monkeypatch.setattr(os, "getuid", lambda: 4_294)
    with pytest.raises(ModelError, match=f"belongs to another user; set {CACHE_VARIABLE}"):
        local_copy(MODEL)


def test_many_threads_share_one_copy(reads: Reads) -> None:
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: local_copy(MODEL), range(32)))
    assert len(found) == 1
    assert len(reads.names) == len(FILES)


def copy_and_check(number: int) -> tuple[str, bool]:
    """Return the copy, and whether it was whole as soon as it could be used; run in another process."""
    copy = local_copy(MODEL)
    return copy, content(copy) == FILES


def test_many_processes_share_one_copy(bucket: Any, server: tuple[str, Any]) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.map(copy_and_check, range(12), chunksize=1)
    assert len({copy for copy, _ in found}) == 1
    assert all(whole for _, whole in found)
    assert len(copies()) == 1
