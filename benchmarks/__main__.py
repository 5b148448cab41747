"""Run every benchmark, each in a process of its own, and write BENCHMARKS.md.

python -m benchmarks
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.commands import REPOSITORY
from benchmarks.machine import describe_machine

BENCHMARKS = ("names", "memory", "read_ahead", "against_model", "peers")

HEAD = """\
# Benchmarks

Written by `python -m benchmarks`, which takes about {minutes:.0f} minutes; do not edit. Each section is what
`python -m benchmarks.NAME` prints, for {names}.

Measured on {machine}

A number with two others in brackets is a median with the minimum and the maximum. What is compared was
measured in turn, because other work on the machine slows everything for a while; a ratio is the median of the
ratios of neighbours, unless it says otherwise. Models have random weights: here, only their work counts.
"""


def run(name: str) -> tuple[str, int]:
    """Run a benchmark, and return its section and its exit code."""
    print(f"benchmarks.{name} ...", file=sys.stderr)
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    process = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if not process.stdout:
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}, and printed nothing")
    return process.stdout, process.returncode


def main() -> int:
    """Write the page, and return 1 when a bound does not hold."""
    start = time.monotonic()
    found = [run(name) for name in BENCHMARKS]
    head = HEAD.format(
        minutes=(time.monotonic() - start) / 60,
        names=", ".join(f"`{name}`" for name in BENCHMARKS),
        machine=describe_machine(),
    )
    (REPOSITORY / "BENCHMARKS.md").write_text("\n".join([head, *(section for section, _ in found)]))
    return max(code for _, code in found)


if __name__ == "__main__":
    sys.exit(main())
