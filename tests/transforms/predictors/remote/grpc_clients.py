"""What the tests of gRPC share: clients, and a model that doubles numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from emulators.tf_serving_messages import Model, Served
from tests.transforms.predictors.remote.tokens import Tokens
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.grpc_predict import GrpcFormat
from transforms.predictors.remote.grpc_transport import GrpcTransport
from transforms.predictors.remote.wire import CallFailed, Request

DOUBLES = Signature(
    "serving_default", (TensorSpec("x", "float32", (None, 2)),), (TensorSpec("y", "float32", (None, 2)),)
)
MAX_REQUEST_BYTES = 4 << 20
MAX_ANSWER_BYTES = 1 << 20


def doubling() -> Model:
    def double(inputs: Tensors) -> Tensors:
        return {"y": inputs["x"] * 2}

    return {"serving_default": Served(DOUBLES, double)}


def format_of(place: str, signature: str = "serving_default", host: str = "127.0.0.1:1") -> GrpcFormat:
    return GrpcFormat(parse_endpoint(f"grpc://{host}/{place}"), signature)


@contextlib.contextmanager
def client(
    host: str, credentials: Any = None, *, scheme: str = "grpc", **settings: Any
) -> Iterator[GrpcTransport]:
    endpoint = parse_endpoint(f"{scheme}://{host}/doubling")
    limits = {"max_request_bytes": MAX_REQUEST_BYTES, "max_answer_bytes": MAX_ANSWER_BYTES}
    transport = GrpcTransport(endpoint, credentials or Tokens(), **{**limits, **settings})
    try:
        yield transport
    finally:
        transport.close()


def failure(transport: GrpcTransport, request: Request, timeout: float = 10) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        transport.call(request, timeout)
    return caught.value
