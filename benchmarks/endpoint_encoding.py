"""What it takes to write requests and to read answers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.endpoint_server import ITEM, SIGNATURE, Server
from benchmarks.samples import Samples, interleave
from transforms.predictors.base import TensorSpec
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.wire import Parsed, Reply, Request, Transport

PROTOCOLS = {"tf_serving": "TensorFlow Serving, rows", "kserve": "KServe", "grpc": "gRPC"}
STANDARD = "json.dumps, json.loads"

_CALLS_FIRST = 5  # which are slow
_SECONDS = 60.0


@dataclass(frozen=True)
class Cost:
    """What one batch takes, in seconds on the clock, unless it says otherwise.

    Attributes:
        encoding: Writing the request.
        parsing: Reading the answer.
        processor: Both, of the processor.
        call: Both, with what lies between: sending, and the server.
    """

    encoding: float
    parsing: float
    processor: float
    call: float

    @property
    def both(self) -> float:
        """Writing and reading."""
        return self.encoding + self.parsing


Measure = Callable[[], Cost]


def measure_encoding(
    server: Server, contents: Sequence[bytes], scores: int, rounds: int
) -> dict[str, list[Cost]]:
    """Return what a batch takes, by what encodes it.

    The server answers at once, with so many scores for each item.
    """
    server.answer_after(0)
    server.answer_with(scores)
    specs = (TensorSpec("label", "int64", (None,)), TensorSpec("scores", "float32", (None, scores)))
    measures = {name: _by_protocol(server, protocol, contents, specs) for protocol, name in PROTOCOLS.items()}
    measures[STANDARD] = _by_standard_library(server, contents)
    interleave(measures, _CALLS_FIRST)
    return interleave(measures, rounds)


def samples_of(costs: Sequence[Cost], attribute: str) -> Samples:
    """Return one of the times of each cost."""
    return Samples([getattr(cost, attribute) for cost in costs])


def _by_protocol(
    server: Server, protocol: str, contents: Sequence[bytes], specs: Sequence[TensorSpec]
) -> Measure:
    connection = Connection(parse_endpoint(server.address(protocol), protocol))
    wire = connection.wire(SIGNATURE)

    def encode() -> Request:
        return wire.request([wire.encode({ITEM: content}) for content in contents], {}, None)

    def parse(reply: Reply) -> Parsed:
        parsed = wire.parse(reply, len(contents), specs)
        if not all(isinstance(row, Mapping) for row in parsed.rows):
            raise RuntimeError(f"{protocol}: {parsed.rows[0]}")
        return parsed

    return partial(_measured, encode, connection.transport(), parse)


def _by_standard_library(server: Server, contents: Sequence[bytes]) -> Measure:
    address = server.address("tf_serving")
    transport = Connection(parse_endpoint(address, "tf_serving")).transport()

    def encode() -> Request:
        instances = [{ITEM: {"b64": base64.b64encode(content).decode()}} for content in contents]
        body = json.dumps({"signature_name": SIGNATURE, "instances": instances}).encode()
        return Request(f"{address}:predict", body)

    return partial(_measured, encode, transport, lambda reply: json.loads(reply.body))


def _measured(encode: Callable[[], Request], transport: Transport, parse: Callable[[Reply], object]) -> Cost:
    begun, encoding = time.perf_counter(), time.thread_time()
    request = encode()
    encoded, sending = time.perf_counter(), time.thread_time()
    reply = transport.call(request, _SECONDS)
    answered, parsing = time.perf_counter(), time.thread_time()
    parse(reply)
    parsed, end = time.perf_counter(), time.thread_time()
    return Cost(
        encoding=encoded - begun,
        parsing=parsed - answered,
        processor=sending - encoding + end - parsing,
        call=parsed - begun,
    )
