"""A Google Cloud to submit jobs to, from this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from apache_beam.internal.gcp import auth
from apache_beam.utils import retry
from google.cloud import dataflow_v1beta3 as api

from pipeline.dataflow import handover, waiting
from tests.google_cloud import BUCKET, GoogleCloud, google_cloud


@pytest.fixture(scope="module")
def started() -> Iterator[GoogleCloud]:
    with google_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(started: GoogleCloud, monkeypatch: pytest.MonkeyPatch) -> GoogleCloud:
    for name, value in started.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", False)  # Beam keeps those of other tests
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    monkeypatch.setattr(retry.Clock, "sleep", lambda _, seconds: None)
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(handover, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(handover, "SECONDS_TO_APPEAR", 0.1)
    service = started.dataflow
    for kept in (service.jobs, service.refusals, service.list_refusals, service.states):
        kept.clear()
    for told in (service.messages, service.counters, service.distributions):
        told.clear()
    service.batch_ends_as = api.JobState.JOB_STATE_DONE
    for blob in started.storage.list_blobs(BUCKET, prefix="out/"):
        blob.delete()
    return started


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What a request waits for that takes too long; it happens at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def interrupt() -> Callable[[], None]:
    """What presses Ctrl-C, from another thread."""
    main = threading.main_thread().ident
    assert main is not None
    return lambda: signal.pthread_kill(main, signal.SIGINT)
