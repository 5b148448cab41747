"""A server that answers without computing, in a process of its own, so that clients have theirs alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import orjson

from emulators.model_server import model_server
from emulators.rest_apis import Call, TfServingApi
from emulators.rest_faults import at_random
from emulators.served import Served
from transforms.predictors.base import Signature, TensorSpec

MODEL = "model"
SIGNATURE = "from_bytes"
ITEM = "image_bytes"
SEED = 5
REFUSALS = (503, 429)
SCORES = 10
"""How many numbers are answered for an item, unless another number is told."""

_START_OF_IMAGES = (b"\x89PNG\r\n", b"\xff\xd8\xff")
"""Of PNG and of JPEG files; by these, the images of a message of gRPC are counted."""

_THREADS = 32
_MOST_ITEMS = 64
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Seen:
    """What has come since the last look.

    Attributes:
        requests: Requests for predictions, with those that were refused.
        answered: When each of the others was answered, in seconds, and for how many items.
    """

    requests: int
    answered: list[tuple[float, int]]

    @property
    def items_per_second(self) -> float:
        """The pace between the first answer and the last."""
        (first, _), *others = sorted(self.answered)
        return sum(items for _, items in others) / (others[-1][0] - first)


class Server:
    """The server, from another process.

    Args:
        process: Where it runs.
    """

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process
        process.submit(_start).result()

    def address(self, protocol: str) -> str:
        """Return what `--endpoint` takes."""
        address: str = self._call("address", protocol)
        return address

    def answer_after(self, seconds: float) -> None:
        """Take so long for each answer from now on."""
        self._call("answer_after", seconds)

    def answer_with(self, scores: int) -> None:
        """Answer so many numbers for each item from now on."""
        self._call("answer_with", scores)

    def refuse(self, share: float) -> None:
        """Refuse a share of the requests over HTTP from now on."""
        self._call("refuse", share)

    def take(self) -> Seen:
        """Return what has come, and forget it."""
        seen: Seen = self._call("take")
        return seen

    def stop(self) -> None:
        """End it."""
        self._call("stop")

    def _call(self, method: str, *arguments: Any) -> Any:
        return self._process.submit(_do, method, *arguments).result()


@contextlib.contextmanager
def endpoint_server() -> Iterator[Server]:
    """Run a server in a process of its own until the end of the context."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        server = Server(process)
        try:
            yield server
        finally:
            server.stop()


class _Server:
    """The server, in its own process; see `Server`."""

    def __init__(self) -> None:
        self._canned = _Canned(SCORES)
        self._latency = 0.0
        self._seeds = count(SEED)
        self._requests = 0
        self._answered: list[tuple[float, int]] = []
        self._stack = contextlib.ExitStack()
        api = TfServingApi({MODEL: {1: {SIGNATURE: self._canned.served}}})
        self._metadata = api.handle(Call("GET", f"/v1/models/{MODEL}/metadata", "", b"")).answer.body
        self._rest = self._stack.enter_context(model_server(api))
        self._rest.keeps = False
        self._rest.quick = self._answer_rest
        self._grpc_address = self._stack.enter_context(_grpc_server(self._canned.served, self._answer_grpc))

    def address(self, protocol: str) -> str:
        if protocol == "grpc":
            return f"grpc://{self._grpc_address}/{MODEL}"
        return f"{self._rest.address}/v1/models/{MODEL}"

    def stop(self) -> None:
        self._stack.close()

    def answer_after(self, seconds: float) -> None:
        self._latency = self._rest.latency = seconds

    def answer_with(self, scores: int) -> None:
        self._canned = _Canned(scores)

    def refuse(self, share: float) -> None:
        self._rest.fault = at_random(share, REFUSALS, next(self._seeds)) if share else None

    def take(self) -> Seen:
        requests = self._requests + sum(one.method == "POST" for one in self._rest.received)
        seen = Seen(requests, self._answered)
        self._requests, self._answered = 0, []
        self._rest.received.clear()
        return seen

    def _answer_rest(self, body: bytes) -> bytes:
        if not body:
            return self._metadata
        items = body.count(b'"b64"')
        self._answered.append((time.perf_counter(), items))
        return self._canned.json(items)

    def _answer_grpc(self, body: bytes, context: Any) -> bytes:
        self._requests += 1
        if self._latency:
            time.sleep(self._latency)
        items = max(map(body.count, _START_OF_IMAGES))
        self._answered.append((time.perf_counter(), items))
        return self._canned.message(items)


class _Canned:
    """Answers, which are made before they are needed: a label and some scores for each item."""

    def __init__(self, scores: int) -> None:
        generator = np.random.default_rng(SEED)
        self._scores = generator.random((_MOST_ITEMS, scores), np.float32)
        inputs = (TensorSpec(ITEM, "string", (None,)),)
        outputs = (TensorSpec("label", "int64", (None,)), TensorSpec("scores", "float32", (None, None)))
        self.served = Served(Signature(SIGNATURE, inputs, outputs), lambda tensors: {})
        self._rows = [
            orjson.dumps({"label": 7, "scores": row}, option=orjson.OPT_SERIALIZE_NUMPY)
            for row in self._scores
        ]
        self._messages: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def json(self, items: int) -> bytes:
        return b'{"predictions":[%b]}' % b",".join(self._rows[:items])

    def message(self, items: int) -> bytes:
        with self._lock:
            if items not in self._messages:
                self._messages[items] = self._made(items)
        return self._messages[items]

    def _made(self, items: int) -> bytes:
        from emulators.tf_serving_messages import tensor_proto

        from tensorflow_serving.apis import predict_pb2  # isort: skip  # after TensorFlow

        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.version.value = MODEL, 1
        response.outputs["label"].CopyFrom(tensor_proto(np.full(items, 7)))
        response.outputs["scores"].CopyFrom(tensor_proto(self._scores[:items]))
        made: bytes = response.SerializeToString()
        return made


@contextlib.contextmanager
def _grpc_server(served: Served, predict: Any) -> Iterator[str]:
    """Serve TensorFlow Serving's interface, of which Predict takes and gives bytes as they are."""
    import grpc

    from emulators.tf_serving_grpc import SERVICE, TfServing

    handlers = {
        **TfServing({MODEL: {1: {SIGNATURE: served}}}).handlers(),
        "Predict": grpc.unary_unary_rpc_method_handler(predict),
    }
    options = (("grpc.max_receive_message_length", _MOST_BYTES), ("grpc.so_reuseport", 0))
    server = grpc.server(ThreadPoolExecutor(_THREADS), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


_running: list[_Server] = []


def _start() -> None:
    _running.append(_Server())


def _do(method: str, *arguments: Any) -> Any:
    return getattr(_running[0], method)(*arguments)
