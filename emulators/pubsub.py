"""Pub/Sub: the emulator of the Google Cloud SDK."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from emulators.processes import MissingProgram, free_port, running
from pipeline.pubsub_clients import EMULATOR_VARIABLE as HOST_VARIABLE
from pipeline.pubsub_clients import subscriber_client

PROJECT = "beam-predict-local"

_PROGRAM = "platform/pubsub-emulator/bin/cloud-pubsub-emulator"
_INSTALL = "needs the Pub/Sub emulator: gcloud components install pubsub-emulator (it runs on Java)"


@contextlib.contextmanager
def pubsub_emulator() -> Iterator[str]:
    """Start an empty emulator, and point the clients of this process and of its children to it.

    Yields:
        Its address, which is in `PUBSUB_EMULATOR_HOST` as long.

    Raises:
        MissingProgram: It is not installed.
    """
    port = free_port()
    host = f"127.0.0.1:{port}"
    before = os.environ.get(HOST_VARIABLE)
    with running([_program(), "--host=127.0.0.1", f"--port={port}"], port):
        os.environ[HOST_VARIABLE] = host
        try:
            yield host
        finally:
            os.environ.pop(HOST_VARIABLE)
            if before is not None:
                os.environ[HOST_VARIABLE] = before


def create_topic(name: str, project: str = PROJECT) -> str:
    """Create a topic, and return its path."""
    path = f"projects/{project}/topics/{name}"
    with _publisher() as client:
        client.create_topic(name=path)
    return path


def create_subscription(name: str, topic: str) -> str:
    """Create a subscription to the topic of a path, in its project, and return its own path."""
    from google.cloud import pubsub_v1

    path = f"{topic.rpartition('/topics/')[0]}/subscriptions/{name}"
    with pubsub_v1.SubscriberClient() as client:
        client.create_subscription(name=path, topic=topic)
    return path


def publish(topic: str, messages: Sequence[tuple[bytes, dict[str, str]]]) -> list[str]:
    """Publish messages, each a body with attributes, and return their ids when all have arrived."""
    with _publisher() as client:
        futures = [client.publish(topic, data, **attributes) for data, attributes in messages]
        return [future.result(timeout=60) for future in futures]


def pull(subscription: str, count: int, seconds: float = 30.0) -> list[Any]:
    """Wait for a number of messages, acknowledge and return them; fewer when the time is over."""
    deadline = time.monotonic() + seconds
    messages: list[Any] = []
    with subscriber_client() as client:
        while len(messages) < count and time.monotonic() < deadline:
            answer = client.pull(
                subscription=subscription, max_messages=count, timeout=30, return_immediately=True
            )
            received = list(answer.received_messages)
            if received:
                client.acknowledge(subscription=subscription, ack_ids=[one.ack_id for one in received])
            messages += [one.message for one in received]
            time.sleep(0 if received else 0.02)
    return messages


@contextlib.contextmanager
def _publisher() -> Iterator[Any]:
    from google.cloud import pubsub_v1

    client = pubsub_v1.PublisherClient()
    try:
        yield client
    finally:
        client.stop()


@functools.cache
def _program() -> str:
    for root in _sdk_roots():
        program = root / _PROGRAM
        if program.exists() and shutil.which("java"):
            return str(program)
    raise MissingProgram(_INSTALL)


def _sdk_roots() -> Iterator[Path]:
    """Yield where the Google Cloud SDK may be: beside the real `gcloud`, and where that says it is."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return
    yield Path(gcloud).resolve().parents[1]
    told = subprocess.run(
        [gcloud, "info", "--format=value(installation.sdk_root)"], capture_output=True, text=True, check=False
    )
    if told.stdout.strip():
        yield Path(told.stdout.strip())
