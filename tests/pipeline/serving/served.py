"""`beam-predict serve`, as a process, and what is asked of it."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import urllib3

from tests.conftest import ROOT

SECONDS = 90.0


@dataclass
class Served:
    """A server that is ready.

    Attributes:
        process: The command.
        line: What it printed when it was ready.
        host: Its URL, without a path.
        name: What it calls its model.
    """

    process: subprocess.Popen[str]
    line: str
    host: str
    name: str

    def ask(
        self, path: str, body: Any = None, method: str | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; a body that is no bytes is sent as JSON."""
        encoded = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        method = method or ("GET" if body is None else "POST")
        url = f"{self.host}{path}"
        return urllib3.request(method, url, body=encoded, headers=headers, timeout=SECONDS, retries=False)

    def predict(self, *instances: Any) -> urllib3.BaseHTTPResponse:
        """Ask for predictions."""
        return self.ask(f"/v1/models/{self.name}:predict", {"instances": instances})

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Stop it, and return the exit code, and what it has complained of."""
        self.process.send_signal(number)
        _, complaints = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, complaints


def b64(content: bytes) -> dict[str, str]:
    """Write bytes as JSON has them."""
    return {"b64": base64.b64encode(content).decode()}


@contextlib.contextmanager
def serving(
    model: Path | str, *flags: object, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Serve a model on a free port until the end of the context."""
    command = [sys.executable, "-m", "pipeline", "serve", "--model", str(model), *map(str, flags)]
    if environment is None:
        command += ["--port", "0"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()  # which comes, or its end does
        found = re.match(r"serving (\S+) at (http://\S+?)/v1/", line)
        if found is None:
            process.kill()
            raise AssertionError(process.communicate())
        yield Served(process, line, host=found[2], name=found[1])
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another process makes true."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
