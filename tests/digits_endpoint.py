"""An endpoint of the digits that is not on this machine, as far as anybody can tell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from emulators.model_server import ModelServer, model_server
from emulators.rest_apis import TfServingApi
from emulators.served import Served
from tests.conftest import MODEL
from transforms import open_model
from transforms.predictors.functions import Tensors

ADDRESS = "http://models.invalid/v1/models/digits"
"""Its name is known to the proxy alone, which is the server itself."""

FLAGS = (f"--endpoint={ADDRESS}", "--endpoint_protocol=tf_serving", "--signature=from_bytes")


@contextlib.contextmanager
def digits_endpoint() -> Iterator[ModelServer]:
    """Start a server that tells what it takes and gives, and takes each item for a zero."""
    served = Served(open_model(str(MODEL), "from_bytes").signature, _zeros)
    with model_server(TfServingApi({"digits": {7: {"from_bytes": served}}})) as server:
        yield server
    assert server.violations == []


def _zeros(inputs: Tensors) -> Tensors:
    count = len(inputs["image_bytes"])
    return {
        "label": np.zeros(count, np.int64),
        "probability": np.ones(count, np.float32),
        "scores": np.eye(1, 10, dtype=np.float32).repeat(count, axis=0),
    }


def proxied(server: ModelServer) -> dict[str, str]:
    """Return the variables that lead to it."""
    return {"http_proxy": server.address, "no_proxy": "127.0.0.1,localhost"}
