"""deploy/cloudbuild.yaml: it is what Google's message type takes, and builds what it pushes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format

from emulators.storage import HOST_VARIABLE, fake_gcs_server, storage_client_of
from tests.conftest import MODEL
from transforms.predictors import local_copy as local_copy_module
from transforms.predictors.cache_folders import CACHE_VARIABLE
from transforms.predictors.local_copy import local_copy

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "cloudbuild.yaml"
BUILT_IN = {"PROJECT_ID", "BUILD_ID"}


@pytest.fixture(scope="module")
def build() -> Any:
    """The build, read as Google's API reads it: a field that it does not have is an error."""
    message = cloudbuild_v1.Build()
    json_format.ParseDict(yaml.safe_load(FILE.read_text()), cloudbuild_v1.Build.pb(message))
    return message


def substituted(text: str, build: Any, **given: str) -> str:
    values = {**build.substitutions, "PROJECT_ID": "my-project", "BUILD_ID": "a-build", **given}
    while (match := re.search(r"\$\{(\w+)\}", text)) is not None:
        text = text.replace(match.group(), values[match.group(1)])
    return text


def test_each_substitution_is_known_and_used(build: Any) -> None:
    used = set(re.findall(r"\$\{(\w+)\}", str(build).replace("\\", "")))
    assert {name for name in used if name.startswith("_") or name in BUILT_IN} - BUILT_IN == set(
        build.substitutions
    )


def test_both_images_are_built_and_pushed(build: Any) -> None:
    tags = {
        substituted(arg.removeprefix("--tag="), build)
        for step in build.steps
        for arg in step.args
        if arg.startswith("--tag=")
    }
    name = "us-central1-docker.pkg.dev/my-project/beam-predict/beam-predict:a-build"
    assert tags == {name, f"{name}-gpu"} == {substituted(image, build) for image in build.images}


def test_an_image_is_told_the_name_under_which_it_is_pushed(build: Any) -> None:
    steps = [step for step in build.steps if step.args]
    for step in steps:
        told = next(arg for arg in step.args if arg.startswith("--build-arg=IMAGE="))
        assert f"--tag={told.removeprefix('--build-arg=IMAGE=')}" in step.args
        assert "--file=deploy/Dockerfile" in step.args
    assert len(steps) == 2


def test_a_step_waits_for_steps_that_there_are(build: Any) -> None:
    for position, step in enumerate(build.steps):
        assert set(step.wait_for) <= {"-", *(earlier.id for earlier in build.steps[:position])}


@pytest.mark.parametrize(("model", "built"), [("", []), ("gs://bucket/model", ["i:t", "i:t-gpu"])])
def test_the_model_is_added_to_both_images_where_there_is_one(
    build: Any, tmp_path: Path, model: str, built: list[str]
) -> None:
    (step,) = (step for step in build.steps if step.id == "model")
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$@"\n')
    docker.chmod(0o755)
    settings = dict(
        substituted(text, build, _IMAGE="i", _TAG="t", _MODEL=model).split("=", 1) for text in step.env
    )
    result = subprocess.run(
        ["bash", "-c", step.script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.rpartition("--tag ")[2].split()[0] for line in result.stdout.splitlines()] == built
    assert "$_" not in step.script  # Cloud Build leaves scripts as they are


@pytest.fixture
def bucket() -> Iterator[str]:
    """Yield the address of a bucket with the model of the digits."""
    with fake_gcs_server() as host, storage_client_of(host) as client:
        models = client.create_bucket("models")
        for path in MODEL.rglob("*"):
            if path.is_file():
                models.blob(f"digits/{path.relative_to(MODEL)}").upload_from_filename(str(path))
        yield host


def test_the_image_that_was_built_fetches_the_model_for_its_workers(
    build: Any, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_of(build, "fetch-model")
    assert substituted(step.name, build) == substituted(build.images[0], build)
    script = step.script.replace("/workspace", str(tmp_path))
    run_script(script, step, build, HOST=bucket, MODEL="gs://models/digits")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(local_copy_module, "_copy", None)  # nothing is copied any more
    copy = Path(local_copy("gs://models/digits"))
    assert (copy / "saved_model.pb").read_bytes() == (MODEL / "saved_model.pb").read_bytes()


def test_without_a_model_none_is_fetched(build: Any, tmp_path: Path) -> None:
    step = step_of(build, "fetch-model")
    run_script(step.script.replace("/workspace", str(tmp_path)), step, build, HOST="", MODEL="")
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_is_what_goes_into_the_image(build: Any) -> None:
    (folder,) = re.findall(r"--folder (\S+)", step_of(build, "fetch-model").script)
    assert step_of(build, "model").script.split("docker build")[1].split()[-2] == folder


def step_of(build: Any, name: str) -> Any:
    (step,) = (step for step in build.steps if step.id == name)
    return step


def run_script(script: str, step: Any, build: Any, **values: str) -> None:
    """Run a step's script where `beam-predict` is, as in the image."""
    settings = dict(text.split("=", 1) for text in step.env)
    assert settings == {"MODEL": "${_MODEL}"}
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "MODEL": values["MODEL"],
        HOST_VARIABLE: values["HOST"],
    }
    subprocess.run(["bash", "-c", script], env=environment, check=True)
