"""The image of `deploy/serving`: its packages, and the server that it starts."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import urllib3
from setuptools import find_packages

from emulators.processes import free_port
from tests.conftest import IMAGES
from tests.deploy.images import DEADLINE_SECONDS, ROOT, SERVING, Dockerfile, started, wait_for_line


def test_the_server_image_has_all_packages_and_can_install_them(tmp_path: Path) -> None:
    image = Dockerfile.read(SERVING)
    (included,) = re.findall(r"include=(\[.*?\])", (ROOT / "setup.py").read_text())
    packages = {name.partition(".")[0] for name in find_packages(str(ROOT), include=json.loads(included))}
    assert packages <= set(image.copies)
    for source in ("setup.py", "pyproject.toml", *packages):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / source)

    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", tmp_path]
    subprocess.run(command, check=True, capture_output=True)

    assert len(list((tmp_path / "dist").glob("*.whl"))) == 1


def test_the_python_of_the_server_image_is_one_that_the_project_takes() -> None:
    (minor,) = re.findall(r"python:3\.(\d+)-slim", SERVING.read_text())
    low, high = re.findall(
        r"3\.(\d+)", re.findall(r'python_requires="(.*)"', (ROOT / "setup.py").read_text())[0]
    )
    assert int(low) <= int(minor) < int(high)


def test_the_server_answers_on_its_port_and_ends_by_sigterm() -> None:
    image = Dockerfile.read(SERVING)
    model, port = str(ROOT / image.environment["MODEL"].removeprefix("/models/")), str(free_port())
    told = {"MODEL": model, "MODEL_NAME": "digits", "SIGNATURE": "from_bytes", "PORT": port}
    with started(image, "--workers", "1", **told) as server:
        wait_for_line(server, "serving digits at ")
        program, *arguments = image.health_check
        assert program == "python"
        check = [sys.executable, *arguments]
        subprocess.run(check, env=told, check=True, timeout=DEADLINE_SECONDS)
        assert _predict(f"http://127.0.0.1:{port}/v1/models/digits:predict", IMAGES[0].read_bytes())

        server.send_signal(signal.SIGTERM)

        assert server.wait(DEADLINE_SECONDS) == 0
        assert subprocess.run(check, env=told, capture_output=True, check=False).returncode != 0


def test_the_server_takes_what_vertex_ai_says_for_the_place_of_the_model_and_the_port() -> None:
    image = Dockerfile.read(SERVING)
    port = str(free_port())
    told = {
        "MODEL": "/nowhere",
        "AIP_STORAGE_URI": str(ROOT / "examples/digits/model"),
        "AIP_HTTP_PORT": port,
        "SIGNATURE": "from_bytes",
    }
    with started(image, **told) as server:
        assert f":{port}/v1/models/model," in wait_for_line(server, "serving model at ")


def test_a_server_without_a_model_says_what_is_missing() -> None:
    with started(Dockerfile.read(SERVING), MODEL="") as server:
        assert "MODEL is not set" in wait_for_line(server, "MODEL ")
        assert server.wait(DEADLINE_SECONDS) == 2


def _predict(url: str, image: bytes) -> object:
    instance = {"b64": base64.b64encode(image).decode()}
    answer = urllib3.request("POST", url, json={"instances": [instance]}, timeout=DEADLINE_SECONDS)
    return answer.json()["predictions"]
