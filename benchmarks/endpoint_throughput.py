"""The pipeline against clients that only send: as many requests under way, to the same server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import orjson
import urllib3

from benchmarks.endpoint_server import ITEM, SIGNATURE, Server
from benchmarks.materials import write_list
from benchmarks.samples import Samples, interleave
from benchmarks.timing import run
from options import parse
from pipeline import preflight
from pipeline.graph import Steps
from pipeline.job import make_steps
from transforms.batch_files import DEFAULT_BATCH_SIZE
from transforms.predictors.remote.connection import DEFAULT_MAX_CONCURRENT_REQUESTS, Connection
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.wire import Request

BATCH = DEFAULT_BATCH_SIZE
IN_FLIGHT = DEFAULT_MAX_CONCURRENT_REQUESTS
SECONDS_OF_AN_ANSWER = 0.05
PROTOCOLS = {"tf_serving": "TensorFlow Serving, rows", "grpc": "gRPC"}

_VERSION = "1"
_SECONDS = 60.0

Send = Callable[[Request], object]


@dataclass(frozen=True)
class Run:
    """One run, as the server has seen it, and what it left.

    Attributes:
        files_per_second: Between the first answer and the last.
        requests: That came.
        lost: Files without a prediction.
        doubled: Predictions beyond one for each file.
    """

    files_per_second: float
    requests: int
    lost: int = 0
    doubled: int = 0


def measure_throughput(
    server: Server, images: Sequence[Path], outputs: Iterator[Path], rounds: int, refused: float
) -> tuple[dict[str, tuple[Samples, Samples]], list[Run]]:
    """Run bare clients and the pipeline in turn.

    Returns:
        By protocol, the files a second of the bare client, and of the pipeline; and the runs of the pipeline
        in which a share of the requests was refused.
    """
    server.answer_after(SECONDS_OF_AN_ANSWER)
    clients = _Clients(server, images, outputs, write_list(next(outputs), images))
    measures: dict[str, Callable[[], Run]] = {}
    for protocol in PROTOCOLS:
        measures[f"{protocol}, bare"] = partial(clients.bare, protocol, clients.requests(protocol))
        measures[protocol] = partial(clients.pipeline, protocol)
    measures["refused"] = partial(clients.pipeline, "tf_serving", refused)
    runs = interleave(measures, rounds)
    pairs = {protocol: (_paces(runs[f"{protocol}, bare"]), _paces(runs[protocol])) for protocol in PROTOCOLS}
    return pairs, runs["refused"]


def steps_of(address: str, protocol: str, names: str, output: Path) -> Steps:
    """Make the whole pipeline, with the defaults of its flags, for an endpoint."""
    flags = ["--input", names, "--output", f"{output}/", "--signature", SIGNATURE]
    options = parse([*flags, "--endpoint", address, "--endpoint_protocol", protocol])
    return make_steps(options, preflight.check(options))


def _paces(runs: Sequence[Run]) -> Samples:
    if any(run.lost or run.doubled for run in runs):
        raise RuntimeError(f"not each file has one prediction: {runs}")
    return Samples([run.files_per_second for run in runs])


@dataclass(frozen=True)
class _Clients:
    """What asks the server about images.

    Attributes:
        server: The server.
        images: Files.
        outputs: Folders that are not there yet.
        names: The files, as an `--input`.
    """

    server: Server
    images: Sequence[Path]
    outputs: Iterator[Path]
    names: str

    def requests(self, protocol: str) -> list[Request]:
        """Encode what the pipeline sends."""
        wire = Connection(parse_endpoint(self.server.address(protocol), protocol)).wire(SIGNATURE)
        items = [wire.encode({ITEM: path.read_bytes()}) for path in self.images]
        starts = range(0, len(items), BATCH)
        return [wire.request(items[start : start + BATCH], {}, _VERSION) for start in starts]

    def bare(self, protocol: str, requests: Sequence[Request]) -> Run:
        """Send requests, with some threads, over connections that are kept."""
        send, close = _over_grpc(self.server.address(protocol)) if protocol == "grpc" else _over_http()
        self.server.take()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            list(pool.map(send, requests))
        close()
        return self._seen()

    def pipeline(self, protocol: str, refused: float = 0) -> Run:
        """Run the pipeline; a share of the requests is refused once it has seen that the server is there."""
        output = next(self.outputs)
        steps = steps_of(self.server.address(protocol), protocol, self.names, output)
        self.server.refuse(refused)
        self.server.take()
        run(steps)
        self.server.refuse(0)
        found = Counter(_uris(output))
        lost = sum(str(path) not in found for path in self.images)
        return self._seen(lost, found.total() - len(found))

    def _seen(self, lost: int = 0, doubled: int = 0) -> Run:
        seen = self.server.take()
        return Run(seen.items_per_second, seen.requests, lost, doubled)


def _over_http() -> tuple[Send, Callable[[], None]]:
    pools = urllib3.PoolManager(maxsize=IN_FLIGHT, block=True)

    def send(request: Request) -> None:
        headers = {"Content-Type": request.content_type}
        answer = pools.request("POST", request.target, body=request.body, headers=headers, retries=False)
        if answer.status != 200:  # noqa: PLR2004
            raise RuntimeError(f"{request.target} is answered with {answer.status}")

    return send, pools.clear


def _over_grpc(address: str) -> tuple[Send, Callable[[], None]]:
    channel = grpc.insecure_channel(parse_endpoint(address).url)
    method = cache(channel.unary_unary)
    return lambda request: method(request.target)(request.body, timeout=_SECONDS), channel.close


def _uris(output: Path) -> Iterator[str]:
    for path in output.glob("predictions-*.jsonl"):
        for line in path.read_bytes().splitlines():
            yield orjson.loads(line)["uri"]
