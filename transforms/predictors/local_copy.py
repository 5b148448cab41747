"""Models in Cloud Storage and elsewhere, copied once to each worker machine.

The copies are kept in a folder for all processes of a user: `BEAM_PREDICT_CACHE`, or one in the system's
folder for temporary files. A copy's name follows from the model's name and from the generations of its files,
so that another content is another copy; it appears under that name when it is whole. Of each model the
last few copies are kept, for a process that loads one version may be a swap behind the others; and all that
were used lately, for models whose names are numbers look like versions of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from transforms import storage
from transforms.errors import ModelError, ReadError, StorageUnavailable
from transforms.records import FileRef

CACHE_VARIABLE = "BEAM_PREDICT_CACHE"
KEPT_COPIES = 3
KEPT_SECONDS = 900.0
"""How long a copy stays after it was asked for; longer than it takes to load a model from it."""

_THREADS = 8
_LARGE_BYTES = 64 << 20  # such files are held in memory one at a time
_NO_LIMIT = 1 << 62
_VERSION = re.compile(r"/[0-9]+(/[^/]*)?$")
_COPY = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")  # Beam keeps locks of its own in the same folder


def local_copy(uri: str) -> str:
    """Return the path of a model on this machine, after copying it here if need be.

    Args:
        uri: A folder or a file; a local one is returned as it is.

    Raises:
        ModelError: The model cannot be read, or cannot be copied; where its cause is a `StorageUnavailable`,
            a later try may succeed.
    """
    if storage.is_local(uri):
        return uri
    try:
        return _copied(uri)
    except ReadError as error:
        raise ModelError(f"--model {uri} cannot be copied to this machine: {error}") from error
    except OSError as error:  # no space is left, say
        unavailable = StorageUnavailable(str(error))
        raise ModelError(f"--model {uri} cannot be copied to this machine: {error}") from unavailable


def cache_folder() -> Path:
    """Return the folder that holds the copies, and make it where it is missing.

    Raises:
        ModelError: It belongs to another user, who could put models of his own there.
    """
    default = os.path.join(tempfile.gettempdir(), f"beam-predict-{os.getuid()}")
    folder = Path(os.environ.get(CACHE_VARIABLE) or default)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ModelError(f"{folder} belongs to another user; set {CACHE_VARIABLE} to a folder of your own")
    return folder


def _copied(uri: str) -> str:
    files = _files(uri)
    model, content = _digest(_VERSION.sub("", uri)), _digest(*(str(files[name]) for name in sorted(files)))
    copy = cache_folder() / f"{model}-{content}"
    with _locked(copy):
        if not _is_whole(copy, files):
            _copy(files, copy)
        os.utime(copy)
    _prune(copy.parent, model)
    _prune_remains(copy.parent)
    return str(copy / _name(uri)) if _is_file(uri, files) else str(copy)


def _files(uri: str) -> dict[str, FileRef]:
    """List a model's files by their names in it; of a single file, by its own."""
    prefix = storage.join(uri, "")
    found = {file.uri.removeprefix(prefix): file for file in storage.glob(f"{storage.escape(prefix)}**")}
    if not all(map(_stays_inside, found)):  # an object's name may be anything
        raise ModelError(f"--model {uri} has a file whose name would lead out of the copy's folder")
    return found or {_name(uri): storage.stat(uri)}


def _stays_inside(name: str) -> bool:
    return not {"", ".", ".."}.intersection(name.split("/"))


def _is_file(uri: str, files: Mapping[str, FileRef]) -> bool:
    return [file.uri for file in files.values()] == [uri]


def _name(uri: str) -> str:
    return PurePosixPath(uri).name


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _is_whole(copy: Path, files: Mapping[str, FileRef]) -> bool:
    """See that no file was lost since, as to a cleaner of temporary files."""
    try:
        return all((copy / name).stat().st_size == file.size for name, file in files.items())
    except OSError:
        return False


def _copy(files: Mapping[str, FileRef], copy: Path) -> None:
    """Copy files to a folder that gets its name when all of them are there; the lock is held."""
    unfinished = copy.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    large = {name for name, file in files.items() if (file.size or 0) >= _LARGE_BYTES}
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(lambda name: _copy_file(files[name], unfinished / name), files.keys() - large))
    for name in large:
        _copy_file(files[name], unfinished / name)
    shutil.rmtree(copy, ignore_errors=True)
    unfinished.rename(copy)


def _copy_file(file: FileRef, target: Path) -> None:
    content = storage.storage_of(file.uri).read(file, _NO_LIMIT)
    if len(content) != file.size:
        raise StorageUnavailable(f"{file.uri}: {len(content):,} bytes came, and not {file.size:,}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


@contextlib.contextmanager
def _locked(copy: Path, wait: bool = True) -> Iterator[None]:
    """Be the only thread of all processes that changes a copy.

    Raises:
        BlockingIOError: Another one is, and it is not waited for.
    """
    lock = copy.with_suffix(".lock")
    while True:
        with open(lock, "wb") as file:
            # The kernel drops it with the open file, so also with a process that is killed.
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(file, lock):  # else it was deleted while we waited, and locks nobody else out
                yield
                return


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _prune(folder: Path, model: str) -> None:
    """Delete the copies of a model but for those that were used last, or lately."""
    copies = [path for path in folder.glob(f"{model}-*") if not path.suffix]
    for copy in sorted(copies, key=_last_used, reverse=True)[KEPT_COPIES:]:
        if _last_used(copy) < time.time() - KEPT_SECONDS:
            with contextlib.suppress(OSError), _locked(copy, wait=False):
                shutil.rmtree(copy)


def _prune_remains(folder: Path) -> None:
    """Delete the locks of copies that are gone, and what killed processes left half done."""
    for copy in {path.with_suffix("") for path in folder.iterdir() if _COPY.fullmatch(path.stem)}:
        with contextlib.suppress(OSError), _locked(copy, wait=False):
            shutil.rmtree(copy.with_suffix(".unfinished"), ignore_errors=True)
            if not copy.exists():
                copy.with_suffix(".lock").unlink()


def _last_used(copy: Path) -> float:
    try:
        return copy.stat().st_mtime
    except OSError:  # another process has just deleted it
        return 0.0
