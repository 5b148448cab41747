"""The README's commands, run as a reader would run them, against what it says they print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.predictors.saved_model_files import fingerprint

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks() -> list[tuple[str, str, str]]:
    """Return each block of code: its language, its text, and what the README shows as its output."""
    found = [(match.group(1), match.group(2)) for match in _BLOCK.finditer((ROOT / "README.md").read_text())]
    following = [*found[1:], ("", "")]
    return [
        (language, code, output if kind == "text" else "")
        for (language, code), (kind, output) in zip(found, following, strict=True)
        if language in ("bash", "python")
    ]


def _shape(line: str) -> str:
    """Leave out of a line what differs from run to run: numbers, and how it is aligned."""
    return re.sub(r"\s+", " ", re.sub(r"\b[0-9a-f]{16}\b|\d+([.,]\d+)*", "#", line)).strip()


def _pieces(line: str) -> list[str]:
    """Return what stands between the dots that leave something out."""
    return [piece.strip(' ,"') for piece in re.split(r"\.\.\.", line) if piece.strip(' ,"')]


@pytest.mark.parametrize(("language", "code", "shown"), _blocks())
def test_readme_block_runs_and_prints_what_the_readme_shows(language: str, code: str, shown: str) -> None:
    command = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]

    done = subprocess.run(
        [*command, code], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )

    assert done.returncode == 0, done.stderr
    printed = [_shape(line) for line in done.stdout.splitlines()]
    for line in shown.splitlines():
        for piece in _pieces(line):
            assert any(_shape(piece) in candidate for candidate in printed), (piece, done.stdout)


def test_the_readme_shows_the_version_of_the_bundled_model() -> None:
    assert f"version {fingerprint(str(ROOT / 'examples/digits/model'))}" in (ROOT / "README.md").read_text()
