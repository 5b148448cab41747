"""Which copies of models stay in their folder, and for how long; and who may change one.

Of each model the last few copies stay, for a process that loads one version may be a swap behind the others;
all that were used lately, for models whose names are numbers look like versions of one; and all that are
marked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

KEPT_COPIES = 3
KEPT_SECONDS = 900.0
"""How long a copy stays after it was asked for; longer than it takes to load a model from it."""

UNFINISHED = ".unfinished"
"""How a copy's name ends while it is made."""

_LOCK, _MARK = ".lock", ".kept"
_COPY = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")  # Beam keeps locks of its own in the same folder


def keep(copy: Path) -> None:
    """Mark a copy, so that it stays until somebody deletes it."""
    copy.with_suffix(_MARK).touch()


@contextlib.contextmanager
def locked(copy: Path, wait: bool = True) -> Iterator[None]:
    """Be the only thread of all processes that changes a copy.

    Raises:
        BlockingIOError: Another one is, and it is not waited for.
    """
    lock = copy.with_suffix(_LOCK)
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


def prune(folder: Path, model: str) -> None:
    """Delete the copies of a model but for those that are to be kept, or were used last, or lately."""
    found = [path for path in folder.glob(f"{model}-*") if not path.suffix]
    copies = [path for path in found if not path.with_suffix(_MARK).exists()]
    for copy in sorted(copies, key=_last_used, reverse=True)[KEPT_COPIES:]:
        if _last_used(copy) < time.time() - KEPT_SECONDS:
            with contextlib.suppress(OSError), locked(copy, wait=False):
                shutil.rmtree(copy)


def prune_remains(folder: Path) -> None:
    """Delete the locks and marks of copies that are gone, and what killed processes left half done."""
    for copy in {path.with_suffix("") for path in folder.iterdir() if _COPY.fullmatch(path.stem)}:
        with contextlib.suppress(OSError), locked(copy, wait=False):
            shutil.rmtree(copy.with_suffix(UNFINISHED), ignore_errors=True)
            if not copy.exists():
                copy.with_suffix(_MARK).unlink(missing_ok=True)
                copy.with_suffix(_LOCK).unlink()


def _last_used(copy: Path) -> float:
    try:
        return copy.stat().st_mtime
    except OSError:  # another process has just deleted it
        return 0.0
