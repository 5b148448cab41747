"""What the tests of remote predictors share: models that count bytes, and predictors that ask for them."""

from __future__ import annotations

import base64
import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from emulators.model_server import Exchange, Fault, ModelServer, model_server
from emulators.rest_apis import TfServingApi
from emulators.served import Row, Served, of_rows
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.remote.caller import RetryPolicy
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.open_endpoint import open_endpoint
from transforms.predictors.remote.remote_predictor import RemotePredictor
from transforms.records import FileBytes, FileRef

PATH = "/v1/models/lengths"
CONTENT = (TensorSpec("content", "string", (None,)),)
LENGTHS = Signature("serving_default", CONTENT, (TensorSpec("length", "int64", (None,)),))
ECHO = Signature("echo", CONTENT, (TensorSpec("text", "string", (None,)),))
SHARES = Signature("shares", CONTENT, (TensorSpec("share", "float32", (None,)),))
NAMES = Signature(
    "names", (TensorSpec("filename", "string", (None,)),), (TensorSpec("length", "int64", (None,)),)
)
QUICK = RetryPolicy(first_delay=0.001, max_delay=0.01)
"""Hardly any wait before a request is sent again."""

POISON = b"poison"


def counting(signature: Signature = LENGTHS, added: int = 0) -> Served:
    """Serve the length of the content, and something more, as an output of the name."""

    def count(rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [{"length": np.int64(len(row[signature.inputs[0].name]) + added)} for row in rows]

    return of_rows(signature, count)


def model(added: int = 0) -> dict[str, Served]:
    """Make the signatures of a version: lengths, the content itself, its share of 100, lengths of names."""
    return {
        "serving_default": counting(added=added),
        "echo": of_rows(ECHO, lambda rows: [{"text": row["content"]} for row in rows]),
        "shares": of_rows(SHARES, lambda rows: [{"share": len(row["content"]) / 100} for row in rows]),
        "names": counting(NAMES, added),
    }


@contextlib.contextmanager
def lengths_server(*versions: int, **settings: Any) -> Iterator[ModelServer]:
    """Serve versions of the model; version 7 counts right, later ones add 1,000 for each.

    No request may be against the documented format.
    """
    served = {version: model(1_000 * (version - 7)) for version in versions or (7,)}
    with model_server(TfServingApi({"lengths": served}), **settings) as server:
        yield server
    assert server.violations == []


def connection_to(address: str, protocol: str | None = "tf_serving", **settings: Any) -> Connection:
    """Describe a connection, with hardly any wait before a request is sent again."""
    return Connection(**{"endpoint": parse_endpoint(address, protocol), "policy": QUICK, **settings})


def opened(
    server: ModelServer,
    signature: str = "serving_default",
    path: str = PATH,
    poll_seconds: float = 0,
    **settings: Any,
) -> RemotePredictor:
    """Make a predictor, and forget what the server was asked for that."""
    connection = connection_to(f"{server.address}{path}", **settings)
    predictor = open_endpoint(connection, signature, poll_seconds=poll_seconds)
    server.received.clear()
    return predictor


def loaded(server: ModelServer, *arguments: Any, **settings: Any) -> RemotePredictor:
    """Make a predictor that is ready, as a worker has it."""
    predictor = copy.copy(opened(server, *arguments, **settings))
    predictor.load()
    return predictor


def files(*contents: bytes) -> list[FileBytes]:
    """Make files of these contents."""
    return [FileBytes(FileRef(f"{number}.bin"), content) for number, content in enumerate(contents)]


def sized(*sizes: int) -> list[FileBytes]:
    """Make files of these sizes."""
    return files(*(b"x" * size for size in sizes))


def values(outcomes: Sequence[Any], name: str = "length") -> list[Any]:
    """Return an output of each item, or the name of the error that it has in its place."""
    found = [getattr(outcome, "outputs", outcome) for outcome in outcomes]
    return [type(one).__name__ if isinstance(one, Exception) else one[name] for one in found]


def counted(predictor: RemotePredictor) -> tuple[int, int, dict[str, int]]:
    """Return what a predictor has to report: requests, those that were sent again, and failures."""
    reports = predictor.new_reports()
    failures: dict[str, int] = {}
    for report in reports:
        for status, count in report.failures.items():
            failures[status] = failures.get(status, 0) + count
    return sum(report.requests for report in reports), sum(report.retries for report in reports), failures


def poisoned() -> bytes:
    """Return how the poison is written in a request."""
    return base64.b64encode(POISON)


def open_gate(gate: threading.Event) -> Fault:
    """Open a gate for others that wait, and answer as usual."""

    def then_go_on(exchange: Exchange) -> None:
        gate.set()

    return then_go_on


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition, which must come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
