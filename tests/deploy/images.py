"""A Dockerfile that is read, and what it starts, started on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "deploy/serving/Dockerfile"
TF_SERVING = ROOT / "deploy/tf_serving/Dockerfile"
BIN = Path(sys.executable).parent
DEADLINE_SECONDS = 120


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of a Dockerfile, with the defaults of its arguments put in."""

    instructions: Sequence[tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
        arguments = dict(rest.split("=", 1) for name, rest in lines if name == "ARG")
        return cls([(name, _put_in(arguments, rest)) for name, rest in lines])

    def all(self, name: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == name]

    @property
    def copies(self) -> Mapping[str, str]:
        """Where each thing of the repository is in the image."""
        split = [[word for word in rest.split() if not word.startswith("--")] for rest in self.all("COPY")]
        return {
            source: to + Path(source).name if to.endswith("/") and len(words) > 2 else to
            for words in split
            for to in words[-1:]
            for source in words[:-1]
        }

    @property
    def environment(self) -> dict[str, str]:
        pairs = [word.split("=", 1) for rest in self.all("ENV") for word in shlex.split(rest)]
        return dict(pairs)

    @property
    def start(self) -> str:
        """The script that the image starts, in the repository."""
        ((command,),) = [json.loads(rest) for rest in self.all("ENTRYPOINT")]
        (source,) = [source for source, to in self.copies.items() if to == f"/usr/local/bin/{command}"]
        return str(ROOT / source)

    @property
    def health_check(self) -> list[str]:
        (rest,) = self.all("HEALTHCHECK")
        command: list[str] = json.loads(rest.partition("CMD ")[2])
        return command


def _put_in(arguments: Mapping[str, str], text: str) -> str:
    for name, value in arguments.items():
        text = text.replace(f"${{{name}}}", value)
    return text


@contextlib.contextmanager
def started(image: Dockerfile, *arguments: str, **told: str) -> Iterator[subprocess.Popen[str]]:
    """Start what an image starts, with its environment and what `docker run -e` would add to it."""
    # The image has nothing of this machine's environment but programs; MODEL is where the model is here.
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    environment = {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **image.environment, **told}
    process = subprocess.Popen(
        [image.start, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_line(process: subprocess.Popen[str], beginning: str) -> str:
    """Read on until a line begins so; what a process writes ends when it ends."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        if line.startswith(beginning):
            return line
        seen.append(line)
    pytest.fail(f"it never said {beginning!r}: {''.join(seen)}")
