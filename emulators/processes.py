"""Starting a server, and stopping it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence

SECONDS_TO_START = 30.0


class MissingProgram(Exception):
    """The machine lacks a server's program; the message has the command that installs it."""


class NotStarted(Exception):
    """A server ended, or listened to nobody; the message has the end of what it wrote."""


@contextlib.contextmanager
def running(command: Sequence[str], port: int, **environment: str) -> Iterator[None]:
    """Run a server from when it listens on a port of 127.0.0.1 until the end of the context.

    Raises:
        NotStarted: It does not listen.
    """
    # It logs to a file, for a pipe that nobody reads would stop it; and has a process group of its own, since
    # some servers are scripts that start another process.
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **environment}, start_new_session=True
        )
        try:
            if not _listens(port, server):
                log.seek(0)
                written = log.read()[-2_000:].decode(errors="replace")
                raise NotStarted(f"{command[0]} did not start: {written}")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)  # it holds nothing that is worth a polite end
            server.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int, server: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        time.sleep(0.02)
    return False
