"""A small Google Cloud on this machine: Dataflow, Cloud Storage, a registry, and credentials for them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulators.credentials import VARIABLE as CREDENTIALS_VARIABLE
from emulators.credentials import write_credentials
from emulators.dataflow import Dataflow, dataflow_service
from emulators.registry import Registry, image_registry
from emulators.storage import HOST_VARIABLE, fake_gcs_server, storage_client_of
from pipeline.dataflow.image_versions import BEAM, PACKAGE
from pipeline.dataflow.launcher_versions import versions
from tests.conftest import IMAGES, MODEL, ROOT

PROJECT, REGION, BUCKET = "my-project", "us-central1", "photos-bucket"
DIGITS = 5
COMMAND = Path(sys.executable).with_name("beam-predict")


@dataclass(frozen=True)
class GoogleCloud:
    """What is there: a bucket with the model of the digits and a few of them, and an image of the workers."""

    dataflow: Dataflow
    registry: Registry
    storage: Any
    storage_host: str
    credentials: Path
    image: str

    @property
    def variables(self) -> dict[str, str]:
        """What makes Google's libraries find it."""
        return {HOST_VARIABLE: self.storage_host, CREDENTIALS_VARIABLE: str(self.credentials)}

    @property
    def settings(self) -> dict[str, str]:
        """A job in batch, as a `.env` would have it."""
        return {
            "PROJECT": PROJECT,
            "REGION": REGION,
            "BUCKET": BUCKET,
            "MODEL": f"gs://{BUCKET}/model",
            "SIGNATURE": "from_bytes",  # with the other TensorFlow reads the files, and knows no emulator
            "INPUT": f"gs://{BUCKET}/images/*.png",
            "OUTPUT": f"gs://{BUCKET}/out",
            "IMAGE": self.image,
        }

    @property
    def flags(self) -> list[str]:
        """The same in flags of `beam-predict`."""
        return [
            "--runner=DataflowRunner",
            f"--dataflow_endpoint={self.dataflow.endpoint}",
            f"--project={PROJECT}",
            f"--region={REGION}",
            f"--temp_location=gs://{BUCKET}/temp",
            f"--sdk_container_image={self.image}",
            f"--model=gs://{BUCKET}/model",
            f"--input=gs://{BUCKET}/images/*.png",
            f"--output=gs://{BUCKET}/out",
        ]

    def staged(self, name: str) -> bytes:
        """Return what was staged last under a name."""
        blobs = [b for b in self.storage.list_blobs(BUCKET, prefix="staging/") if b.name.endswith(f"/{name}")]
        content: bytes = max(blobs, key=lambda blob: blob.generation).download_as_bytes()
        return content


@contextlib.contextmanager
def google_cloud() -> Iterator[GoogleCloud]:
    """Start it, and point this process's Cloud Storage client to it."""
    with contextlib.ExitStack() as stack:
        dataflow = stack.enter_context(dataflow_service())
        registry = stack.enter_context(image_registry())
        host = stack.enter_context(fake_gcs_server())
        storage = stack.enter_context(storage_client_of(host))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        credentials = write_credentials(folder, dataflow.token_uri)
        _fill(storage.create_bucket(BUCKET))
        yield GoogleCloud(dataflow, registry, storage, host, credentials, add_image(registry))


def add_image(registry: Registry, tag: str = "0.1.0", **changed: str) -> str:
    """Add an image that has what this process has, but for what is changed: `python`, `beam` or `package`."""
    here = versions()
    labels = {BEAM: changed.get("beam", here[BEAM]), PACKAGE: changed.get("package", here[PACKAGE])}
    python = changed.get("python", f"{sys.version_info[0]}.{sys.version_info[1]}.99")
    return registry.add("images/beam-predict", tag, labels, [f"PYTHON_VERSION={python}", "LANG=C.UTF-8"])


def _fill(bucket: Any) -> None:
    for path in MODEL.rglob("*"):
        if path.is_file():
            bucket.blob(f"model/{path.relative_to(MODEL)}").upload_from_filename(str(path))
    for path in IMAGES[:DIGITS]:
        bucket.blob(f"images/{path.name}").upload_from_filename(str(path))


@dataclass(frozen=True)
class Checkout:
    """A copy of the scripts whose environment has the command that runs the tests: nothing is downloaded."""

    root: Path
    bin: Path

    @property
    def script(self) -> Path:
        """What a user runs."""
        return self.root / "run_dataflow.sh"

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the script in a folder, as from a terminal that has set these variables and no others."""
        return self.shell(str(self.script), *arguments, cwd=cwd, env=env)

    def shell(
        self, *command: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run bash, with a command or a script."""
        path = os.pathsep.join((str(self.bin), "/usr/local/bin", "/usr/bin", "/bin"))
        environment = {"PATH": path, "HOME": str(self.root), **(env or {})}
        return subprocess.run(
            ["bash", *command],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


_UV = """#!/usr/bin/env bash
root=${{@: -1}}
if [ -d "$root" ]; then ln -sf "{command}" "$root/.venv/bin/beam-predict"; fi
"""


def checkout(folder: Path, command: Path = COMMAND) -> Checkout:
    """Copy the scripts, for which a command stands for the one that is installed."""
    made = Checkout(folder / "a checkout", folder / "bin")
    made.bin.mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", made.root / "scripts")
    for name in ("run_dataflow.sh", "setup.py", "requirements.lock"):
        shutil.copy(ROOT / name, made.root)
    for name, text in (
        ("uv", _UV.format(command=command)),
        ("python3", f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n'),
    ):
        (made.bin / name).write_text(text)
        (made.bin / name).chmod(0o755)
    return made


def installed(names: Iterable[str]) -> list[str]:
    """Return which of the staged files workers install: not the list of packages, which Beam adds for people.

    It does so only where there is a pip in the environment of the launch.
    """
    return [name for name in names if name != "submission_environment_dependencies.txt"]
