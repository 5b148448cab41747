"""Running the real command, and asking the system what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]

_BYTES_PER_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Run:
    """One run of the command.

    Attributes:
        seconds: From its start to its end.
        peak_bytes: The most memory that it held.
        summary: Its `summary.json`.
    """

    seconds: float
    peak_bytes: int
    summary: dict[str, Any]


def run_command(*flags: str) -> Run:
    """Run `python -m pipeline` with an output folder of its own.

    The caller must be small: what it holds counts into the peak, see `materials.in_own_process`.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "pipeline", *flags, "--output", f"{output}/"]
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}")
        summary = json.loads(Path(output, "summary.json").read_bytes())
    return Run(seconds, usage.ru_maxrss * _BYTES_PER_RSS_UNIT, summary)
