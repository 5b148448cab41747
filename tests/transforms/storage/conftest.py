"""A Cloud Storage server for the tests of this folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of


@pytest.fixture(scope="session")
def gcs_host() -> Iterator[str]:
    """Start one server for all tests."""
    with fake_gcs_server() as host:
        yield host


@pytest.fixture
def gcs_client(gcs_host: str) -> Iterator[Any]:
    """Point the process to the server."""
    with storage_client_of(gcs_host) as client:
        yield client


@pytest.fixture
def bucket(gcs_client: Any) -> Any:
    """Make an empty bucket."""
    return gcs_client.create_bucket(f"bucket-{uuid.uuid4().hex}")
