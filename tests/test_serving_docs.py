"""docs/serving.md: its commands are ones that the Dockerfiles and the scripts know."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from google.cloud.devtools.cloudbuild_v1.types import Build
from google.protobuf import json_format

from tests.deploy.images import ROOT, SERVING, TF_SERVING, Dockerfile

PAGE = (ROOT / "docs/serving.md").read_text()
SCRIPT = (ROOT / "deploy/vertex_deploy.sh").read_text()


def _commands(program: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


def test_docker_builds_what_there_is_with_arguments_that_it_has() -> None:
    builds = [command for command in _commands("docker") if command[1] == "build"]
    assert builds
    for build in builds:
        text = (ROOT / build[build.index("-f") + 1]).read_text()
        for word, value in itertools.pairwise(build):
            if word == "--build-arg":
                assert f"ARG {value.partition('=')[0]}=" in text
            if value.startswith("MODEL_PATH="):
                assert (ROOT / value.partition("=")[2]).exists()


def test_cloud_build_takes_the_configuration_and_its_substitutions() -> None:
    config = yaml.safe_load((ROOT / "deploy/serving/cloudbuild.yaml").read_text())
    json_format.ParseDict(config, Build.pb(Build()))
    known = set(config["substitutions"])
    assert set(re.findall(r"\$(_\w+)", json.dumps(config))) == known
    (submit,) = [command for command in _commands("gcloud") if "builds" in command]
    (given,) = [word for word in submit if word.startswith("--substitutions=")]
    assert {pair.split("=")[0] for pair in given.partition("=")[2].split(",")} == known
    assert (ROOT / config["substitutions"]["_DOCKERFILE"]).exists()


def test_the_variables_of_the_images_have_the_defaults_that_the_page_says() -> None:
    serving, tf_serving = Dockerfile.read(SERVING).environment, Dockerfile.read(TF_SERVING).environment
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert (
        {"PORT", "MODEL", "MODEL_NAME", "SIGNATURE", "DRAIN_SECONDS"}
        == set(told)
        == {*serving} - {"PYTHONUNBUFFERED"}
    )
    for name in ("PORT", "DRAIN_SECONDS"):
        first, second = told[name].split(" | ")
        assert serving[name] in first
        assert tf_serving[name] in second


def test_the_manifest_is_one_of_kubernetes_with_the_ports_of_the_image() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    deployment, service = yaml.safe_load_all(block)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    exposed = set(map(int, Dockerfile.read(TF_SERVING).all("EXPOSE")[0].split()))
    assert {port["containerPort"] for port in container["ports"]} == exposed
    assert {port["port"] for port in service["spec"]["ports"]} == exposed
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]


def test_the_script_for_vertex_ai_has_the_flags() -> None:
    (flags,) = re.findall(r"readonly FLAGS='(.*?)'", SCRIPT, re.DOTALL)
    (command,) = _commands("deploy/vertex_deploy.sh")
    section = PAGE.partition("## On Vertex AI")[2].partition("\n## ")[0]
    used = set(re.findall(r"--(\w+)", f"{command} {section}"))
    assert used <= {*flags.split(), "dry_run", "model"}


def test_the_script_for_vertex_ai_takes_the_command_as_it_is_written(tmp_path: Path) -> None:
    (command,) = _commands("deploy/vertex_deploy.sh")
    for tool in ("bash", "tr", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or pytest.fail(f"this test needs {tool}"))
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert "needs gcloud" in done.stderr  # and nothing is wrong but that it is missing here
