"""The folders that hold copies of models: where they are made, and where some may be already.

`BEAM_PREDICT_CACHE` names the folder; without it there is one in the system's folder for temporary files. An
image may have the named one full of copies, and run as a user who cannot write there: then these copies are
used as they are, and all others are made in the folder for temporary files. A model is code, so a folder in
which another user could put one is not taken at all; root's is, since root can do anything anyway.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from transforms.errors import ModelError

CACHE_VARIABLE = "BEAM_PREDICT_CACHE"

_ROOT = 0


@dataclass(frozen=True)
class CacheFolders:
    """Where copies of models are.

    Attributes:
        own: In which copies are made.
        read_only: In which others have made some; None where there is no such folder.
    """

    own: Path
    read_only: Path | None = None


def cache_folder() -> Path:
    """Return the folder in which this process makes copies and locks, and make it where it is missing.

    Raises:
        ModelError: As for `cache_folders`.
    """
    return cache_folders().own


def cache_folders() -> CacheFolders:
    """Return the folders in which copies are made and found.

    Raises:
        ModelError: The folder is none, or another user could put models of his own there.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if not named:
        return CacheFolders(_temporary())
    folder = Path(named)
    if can_be_made_in(folder):
        return CacheFolders(folder)
    return CacheFolders(_temporary(), read_only=folder)


def can_be_made_in(folder: Path) -> bool:
    """Make a folder where it is missing, and tell whether copies can be made in it.

    Raises:
        ModelError: As for `cache_folders`.
    """
    with contextlib.suppress(OSError):  # it may be a part of an image that cannot be written
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise ModelError(f"{folder} is a file; set {CACHE_VARIABLE} to a folder")
    return _is_own(folder) and os.access(folder, os.W_OK | os.X_OK)


def _is_own(folder: Path) -> bool:
    """Tell whose a folder is: this user's, or root's, which others cannot write either.

    Raises:
        ModelError: It is neither.
    """
    found = folder.stat()
    if found.st_uid == os.getuid():
        return True
    if found.st_uid == _ROOT and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    raise ModelError(f"{folder} belongs to another user; set {CACHE_VARIABLE} to a folder of your own")


def _temporary() -> Path:
    folder = Path(tempfile.gettempdir(), f"beam-predict-{os.getuid()}")
    if not can_be_made_in(folder):
        raise ModelError(f"{folder} cannot be written; set {CACHE_VARIABLE} to a folder that can")
    return folder
