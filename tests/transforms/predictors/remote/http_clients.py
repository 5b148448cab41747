"""What the tests of HTTP share: clients, and a server whose model adds numbers up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from emulators.model_server import ModelServer, model_server
from emulators.rest_apis import TfServingApi
from emulators.served import Served, of_rows
from tests.transforms.predictors.remote.tokens import Tokens
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.http_transport import HttpTransport
from transforms.predictors.remote.wire import CallFailed, Request

SUMS = Signature(
    "serving_default", (TensorSpec("x", "float32", (None, None)),), (TensorSpec("y", "float32", (None,)),)
)
MAX_ANSWER_BYTES = 1 << 20
SECONDS = 20.0
PATH = "/v1/models/sums"


def adding() -> Served:
    return of_rows(SUMS, lambda rows: [{"y": row["x"].sum()} for row in rows])


@contextlib.contextmanager
def summing_server(**settings: Any) -> Iterator[ModelServer]:
    """Serve the model; no request may be against the documented format."""
    with model_server(TfServingApi({"sums": {1: {"serving_default": adding()}}}), **settings) as server:
        yield server
    assert server.violations == []


@contextlib.contextmanager
def client(address: str, credentials: Any = None, **settings: Any) -> Iterator[HttpTransport]:
    endpoint = parse_endpoint(f"{address}{PATH}", "tf_serving")
    settings = {"connections": 4, "max_answer_bytes": MAX_ANSWER_BYTES, **settings}
    transport = HttpTransport(endpoint, credentials or Tokens(), **settings)
    try:
        yield transport
    finally:
        transport.close()


def request_to(address: str, *numbers: float) -> Request:
    return Request(f"{address}{PATH}:predict", json.dumps({"instances": [list(numbers or (1, 2))]}).encode())


def predictions(body: bytes) -> Any:
    return json.loads(body)["predictions"]


def ask(server: ModelServer, *numbers: float, timeout: float = SECONDS, **settings: Any) -> Any:
    """Ask over a connection of its own."""
    with client(server.address, **settings) as transport:
        return predictions(transport.call(request_to(server.address, *numbers), timeout).body)


def failure(transport: HttpTransport, request: Request, timeout: float = SECONDS) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        transport.call(request, timeout)
    return caught.value


def failure_at(address: str, timeout: float = SECONDS, **settings: Any) -> CallFailed:
    """Return what becomes of a request over a connection of its own."""
    with client(address, **settings) as transport:
        return failure(transport, request_to(address), timeout)
