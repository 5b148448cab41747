"""Virtual environments that have what the running one has, but for this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


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
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(own, "borrowed.pth").write_text("".join(f"{path}\n" for path in sorted(borrowed)))
    run(python, "-m", "installer", wheel, cwd=folder)
    return python


def build_wheel(sdist: Path, folder: Path) -> Path:
    """Build the wheel of an sdist, as a worker does before it installs it."""
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    run("tar", "-xzf", sdist, "--strip-components=1", "-C", unpacked, cwd=folder)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, unpacked, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel
