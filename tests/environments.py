"""Virtual environments that have what the running one has, or a part of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_LOCKED = re.compile(r"^[a-z0-9][^\\\n]*==[^\\\n]*", re.MULTILINE)
_COMMAND = """#!{python}
import sys

from pipeline.cli import console

sys.exit(console())
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Return what a command prints, run without the folders that the current Python was told to look in."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        command, cwd=cwd, env={**env, **variables}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


def clean_environment(folder: Path, wheel: Path) -> Path:
    """Install a wheel into a new environment, which borrows all other packages, and return its Python.

    A path that a .pth file names has its own .pth files ignored: the editable installation stays behind.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (_place_of_packages(python) / "borrowed.pth").write_text(
        "".join(f"{path}\n" for path in sorted(borrowed))
    )
    run(python, "-m", "installer", wheel, cwd=folder)
    return python


def _place_of_packages(python: Path) -> Path:
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-c", place, cwd=python.parent).strip())


def build_wheel(sdist: Path, folder: Path) -> Path:
    """Build the wheel of an sdist, as a worker does before it installs it."""
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    run("tar", "-xzf", sdist, "--strip-components=1", "-C", unpacked, cwd=folder)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, unpacked, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def locked_environment(folder: Path, lock: Path) -> Path:
    """Make an environment of what a lock lists and of this checkout, and return its command `beam-predict`.

    It is what a user has who does not run the tests. Nothing is installed: all is linked to.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    found = [Requirement(line) for line in _LOCKED.findall(lock.read_text())]
    names = {canonicalize_name(r.name) for r in found if not r.marker or r.marker.evaluate()}
    _link(_place_of_packages(python), {*names, canonicalize_name("beam-predict")})
    command = folder / "bin" / "beam-predict"
    command.write_text(_COMMAND.format(python=python))
    command.chmod(0o755)
    return command


def _link(folder: Path, names: set[str]) -> None:
    """Link to each of these distributions, by whole folders where those have nothing of the others."""
    there = list(distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
    wanted = [each for each in there if canonicalize_name(each.metadata["Name"]) in names]
    assert names == {canonicalize_name(each.metadata["Name"]) for each in wanted}, "run_tests.sh sets up all"
    others = _files(each for each in there if each not in wanted)
    shared = {parent for file in others for parent in file.parents}
    for file in _files(wanted):
        highest = next(place for place in (*reversed(file.parents), file) if place not in shared)
        if not (link := folder / highest).is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(sysconfig.get_path("purelib"), highest))


def _files(of: Iterable[Distribution]) -> Iterator[PurePath]:
    """Yield what they have beside the programs, relative to where packages lie."""
    return (PurePath(file) for each in of for file in each.files or () if ".." not in file.parts)
