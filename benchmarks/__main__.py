"""Run benchmarks, each in a process of its own, and put what they print into BENCHMARKS.md.

python -m benchmarks            all of them
python -m benchmarks NAME...    these; the sections of the others stay as they are
"""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

from benchmarks.commands import REPOSITORY
from benchmarks.machine import describe_machine

BENCHMARKS = (
    "names",
    "memory",
    "read_ahead",
    "against_model",
    "engines",
    "swap",
    "streaming",
    "endpoints",
    "peers",
)

PAGE = REPOSITORY / "BENCHMARKS.md"

HEAD = """\
# Benchmarks

Written by `python -m benchmarks`; do not edit. Each section is what `python -m benchmarks.NAME` prints, and
ends with the machine on which it did, and the load that other work had laid on it just before.

A number with two others in brackets is a median with the minimum and the maximum. What is compared was
measured in turn, because other work on the machine slows everything for a while; a ratio is the median of the
ratios of neighbours, unless it says otherwise. Models have random weights: here, only their work counts.
"""

_MARK = "<!-- benchmarks.{name} -->\n"
_MARKED = re.compile(_MARK.format(name=r"(\w+)"))


def run(name: str) -> tuple[str, int]:
    """Run a benchmark, and return its section and its exit code."""
    print(f"benchmarks.{name} ...", file=sys.stderr)
    command, load = [sys.executable, "-m", f"benchmarks.{name}"], os.getloadavg()[0]
    process = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if not process.stdout:
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}, and printed nothing")
    day = datetime.datetime.now(datetime.timezone.utc).date()
    measured = f"*`python -m benchmarks.{name}`, {day}: {describe_machine()} Load before: {load:.1f}.*"
    return f"{process.stdout.rstrip()}\n\n{measured}\n", process.returncode


def sections(page: str) -> dict[str, str]:
    """Return the sections of a page by the names of their benchmarks."""
    _, *parts = _MARKED.split(page)
    return dict(zip(parts[::2], (part.strip() + "\n" for part in parts[1::2]), strict=True))


def page_of(found: Mapping[str, str]) -> str:
    """Put sections together, in the order of `BENCHMARKS`."""
    marked = [_MARK.format(name=name) + found[name] for name in BENCHMARKS if name in found]
    return "\n".join([HEAD, *marked])


def main(names: Sequence[str]) -> int:
    """Bring the page up to date, and return 1 when a bound does not hold, 2 for a name that is none."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    found = sections(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    codes = []
    for name in names or BENCHMARKS:
        found[name], code = run(name)
        codes.append(code)
        PAGE.write_text(page_of(found), encoding="utf-8")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
