"""Models in Cloud Storage and elsewhere, copied once to each worker machine.

The copies are in a folder for all processes of a user, see `cache_folders`. A copy's name follows from the
model's name and from the generations of its files, so that another content is another copy; it appears under
that name when it is whole. So an image can bring copies with it, which `keep_copy` has made: as long as the
model is the same, nothing is downloaded. Which copies stay is told by `kept_copies`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from transforms import storage
from transforms.errors import ModelError, ReadError, StorageUnavailable
from transforms.predictors.cache_folders import CACHE_VARIABLE, cache_folders
from transforms.predictors.kept_copies import UNFINISHED, keep, locked, prune, prune_remains
from transforms.records import FileRef

_THREADS = 8
_LARGE_BYTES = 64 << 20  # such files are held in memory one at a time
_NO_LIMIT = 1 << 62
_VERSION = re.compile(r"/[0-9]+(/[^/]*)?$")
_LOGGER = logging.getLogger(__name__)


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
    with _explained(uri):
        return _found_or_copied(uri.rstrip("/"))


def keep_copy(uri: str, folder: Path) -> str:
    """Copy a model to a folder where the copy stays until somebody deletes it, and return its path there.

    Whoever has that folder as `BEAM_PREDICT_CACHE`, in an image say, finds the copy in it.

    Args:
        uri: A folder or a file that is not local.
        folder: There is one, and this process may write there.

    Raises:
        ModelError: As for `local_copy`.
    """
    with _explained(uri):
        files, name = _listed(uri := uri.rstrip("/"))
        _copied(files, folder / name)
        keep(folder / name)
        return _path(uri, files, folder / name)


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except ReadError as error:
        raise ModelError(f"--model {uri} cannot be copied to this machine: {error}") from error
    except OSError as error:  # no space is left, say
        unavailable = StorageUnavailable(str(error))
        raise ModelError(f"--model {uri} cannot be copied to this machine: {error}") from unavailable


def _found_or_copied(uri: str) -> str:
    files, name = _listed(uri)
    folders = cache_folders()
    if folders.read_only is not None and _is_whole(folders.read_only / name, files):
        return _path(uri, files, folders.read_only / name)
    if folders.read_only is not None and not (folders.own / name).exists():
        _LOGGER.warning(
            "%s=%s has no copy of %s as it is now, and cannot be written; it is copied to %s",
            *(CACHE_VARIABLE, folders.read_only, uri, folders.own),
        )
    _copied(files, folders.own / name)
    prune(folders.own, name.partition("-")[0])
    prune_remains(folders.own)
    return _path(uri, files, folders.own / name)


def _listed(uri: str) -> tuple[Mapping[str, FileRef], str]:
    """List a model's files, and tell the name of a copy of just these."""
    files = _files(uri)
    content = _digest(*(_identity(files[name]) for name in sorted(files)))
    return files, f"{_digest(_VERSION.sub('', uri))}-{content}"


def _identity(file: FileRef) -> str:
    """Tell a content; alike in all versions of this package: one makes copies, and another finds them."""
    return f"{file.uri} {file.generation} {file.size}"


def _copied(files: Mapping[str, FileRef], copy: Path) -> None:
    with locked(copy):
        if not _is_whole(copy, files):
            _copy(files, copy)
        os.utime(copy)


def _path(uri: str, files: Mapping[str, FileRef], copy: Path) -> str:
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
    """See that no file was lost since, as to a cleaner of temporary files, and that each may be read."""
    try:
        return all(
            (copy / name).stat().st_size == file.size and os.access(copy / name, os.R_OK)
            for name, file in files.items()
        )
    except OSError:
        return False


def _copy(files: Mapping[str, FileRef], copy: Path) -> None:
    """Copy files to a folder that gets its name when all of them are there; the lock is held."""
    unfinished = copy.with_suffix(UNFINISHED)
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
