"""How far a local run is, told by its worker processes while they work.

Beam's local runner tells its metrics only at the end. So each worker process keeps three totals in a file of
its own, in a folder that the launching process names and watches; without that folder nothing is kept.
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct
import threading
import time
from pathlib import Path
from typing import NamedTuple

FOLDER_VARIABLE = "BEAM_PREDICT_PROGRESS"

_LAYOUT = struct.Struct("=3q")
_SECONDS_BETWEEN_WRITES = 0.2
_making = threading.Lock()


class Progress(NamedTuple):
    """Totals: of inputs that were listed, that were predicted on, and that became dead letters."""

    listed: int = 0
    predicted: int = 0
    dead: int = 0


def add(listed: int = 0, predicted: int = 0, dead: int = 0) -> None:
    """Add to the totals of this process."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        _totals(folder).add(listed, predicted, dead)


def read(folder: str) -> Progress:
    """Add up the totals of all processes, as they were a moment ago."""
    contents = [path.read_bytes() for path in Path(folder).iterdir()]
    rows = [_LAYOUT.unpack(content) for content in contents if len(content) == _LAYOUT.size]
    return Progress(*map(sum, zip(*rows, strict=True)))


class _Totals:
    """The totals of this process, and a thread that tells them as long as somebody may be watching."""

    def __init__(self, folder: str) -> None:
        self._file = Path(folder, str(os.getpid()))
        self._lock = threading.Lock()
        self._listed = self._predicted = self._dead = 0
        threading.Thread(target=self._tell, name="progress", daemon=True).start()

    def add(self, listed: int, predicted: int, dead: int) -> None:
        with self._lock:
            self._listed += listed
            self._predicted += predicted
            self._dead += dead

    def _tell(self) -> None:
        with contextlib.suppress(OSError):  # the folder goes when the launching process ends
            while True:
                self._file.write_bytes(_LAYOUT.pack(self._listed, self._predicted, self._dead))
                time.sleep(_SECONDS_BETWEEN_WRITES)


def _totals(folder: str) -> _Totals:
    with _making:  # else two threads that come together would make two
        return _make_totals(folder)


@functools.lru_cache(maxsize=1)
def _make_totals(folder: str) -> _Totals:
    return _Totals(folder)
