"""What is shipped: from the sdist to an environment that has nothing of this checkout."""

import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments import clean_environment, run

ROOT = Path(__file__).parents[1]
PACKAGES = ("options", "pipeline", "transforms")

WHERE_FROM = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))
"""
WHOSE = """
import importlib.metadata, json, sys
owners = importlib.metadata.packages_distributions()
print(json.dumps({name: sorted(set(owners.get(name, []))) for name in sys.argv[1:]}))
"""


def tracked_files() -> Iterator[Path]:
    """Yield what a commit of this checkout would hold, relative to its root."""
    # The setting allows a checkout that belongs to another user, as in many a container.
    git = ("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = run(*git, cwd=ROOT).split("\0")
    return (Path(name) for name in names if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist from the tracked files alone, and the wheel from the sdist alone."""
    if not (ROOT / ".git").exists():
        pytest.skip("only a git checkout knows which files belong to the project")
    checkout = tmp_path_factory.mktemp("checkout")
    for file in tracked_files():
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, checkout / file)
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, checkout, cwd=dist)
    assert len(list(dist.glob("*.tar.gz"))) == 1
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment into which the wheel is installed."""
    return clean_environment(tmp_path_factory.mktemp("clean environment"), wheel)


def test_the_wheel_holds_every_file_of_the_three_packages_and_nothing_else(wheel: Path) -> None:
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == {file.as_posix() for file in tracked_files() if file.parts[0] in PACKAGES}
    assert shipped >= {f"{package}/py.typed" for package in PACKAGES}


def test_the_packages_are_imported_from_where_they_were_installed(clean: Path, tmp_path: Path) -> None:
    found = json.loads(run(clean, "-c", WHERE_FROM, *PACKAGES, cwd=tmp_path))
    assert set(found) == set(PACKAGES)
    for file in found.values():
        assert Path(file).is_relative_to(clean.parents[1])


def test_nobody_else_owns_the_import_names(clean: Path, tmp_path: Path) -> None:
    owners = json.loads(run(clean, "-c", WHOSE, *PACKAGES, cwd=tmp_path))
    assert owners == {package: ["beam-predict"] for package in PACKAGES}


def test_the_console_command_answers(clean: Path, tmp_path: Path) -> None:
    assert "--input" in run(clean.with_name("beam-predict"), "--help", cwd=tmp_path)
