"""deploy/cloudbuild.yaml: it is what Google's message type takes, and builds what it pushes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format

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
