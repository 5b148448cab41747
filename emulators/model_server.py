"""Endpoints over HTTP: a server in this process, which speaks the interfaces of `rest_apis.py`.

It checks each request against the documented format: what no correct client would send is answered with 400,
and kept in `violations`. What goes wrong on purpose is told by `faults`; see `rest_faults.py`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from emulators.certificates import Certificate
from emulators.rest_apis import Answer, Api, Call, Handled
from emulators.rest_values import Refused

_RESET = struct.pack("ii", 1, 0)  # close at once, and tell the other end so
_BUFFER_BYTES = 1 << 20

Quick = Callable[[bytes], bytes]
"""Makes an answer's body of a request's, which nobody looks at: for benchmarks."""


class Hung(Exception):
    """The connection was closed without an answer, or in the middle of one."""


@dataclass(frozen=True)
class Received:
    """A request that has come.

    Attributes:
        method: Of HTTP.
        path: With what follows `?`.
        headers: By their names in lower case.
        size: The bytes of its body.
        body: Its body; empty where `ModelServer.keeps` is off.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    size: int
    body: bytes


class ModelServer:
    """A server that runs; its attributes may be changed meanwhile.

    Attributes:
        api: What it speaks; its own attributes may be changed as well.
        port: Of 127.0.0.1.
        faults: What happens to the next requests, one each; None for nothing.
        fault: What happens to any other request.
        required: The headers that a request must have, by their names in lower case; others are answered 401.
        latency: The seconds that each answer takes, in which other requests are answered as well.
        max_request_bytes: Larger bodies are answered with 413.
        quick: Answers in the place of `api`, without looking at anything.
        keeps: Whether bodies are kept in `received`.
        received: The requests that have come.
        violations: What was wrong with requests, that no correct client sends.
        in_flight: How many requests are being answered.
        most_in_flight: How many were at the same time.
        connections: How many have been opened.
    """

    def __init__(self, api: Api, port: int = 0, certificate: Certificate | None = None) -> None:
        self.api = api
        self.port = port
        self.faults: list[Fault | None] = []
        self.fault: Fault | None = None
        self.required: dict[str, str] = {}
        self.latency = 0.0
        self.max_request_bytes: int | None = None
        self.quick: Quick | None = None
        self.keeps = True
        self.received: list[Received] = []
        self.violations: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self._items: Counter[Any] = Counter()
        self.tls = None if certificate is None else _tls(certificate)
        self._listener: _Listener | None = None

    @property
    def address(self) -> str:
        """Where it is: `http://127.0.0.1:PORT`."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        """How many requests have come."""
        return len(self.received)

    def appearances(self, **values: Any) -> int:
        """Tell in how many requests that were answered with predictions an item was."""
        return self._items[_key(values)]

    def up(self) -> None:
        """Listen, on the same port as before."""
        self._listener = _Listener(self)
        self.port = self._listener.server_port
        self._listener.start()

    def down(self) -> None:
        """Listen no more, and reset all connections."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    def begin(self, received: Received) -> Fault | None:
        """Count a request, and return what happens to it."""
        with self.lock:
            self.received.append(received)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            return self.faults.pop(0) if self.faults else self.fault

    def end(self) -> None:
        """Count a request as done."""
        with self.lock:
            self.in_flight -= 1

    def answer(self, call: Call, headers: Mapping[str, str]) -> Answer:
        """Check a request and answer it."""
        if any(headers.get(name) != value for name, value in self.required.items()):
            headers = {"Content-Type": "application/json", "WWW-Authenticate": "Bearer"}
            return Answer(
                401, self.api.error(401, "Request had invalid authentication credentials."), headers
            )
        if self.quick:
            return Answer(body=self.quick(call.body))
        try:
            return self._counted(self.api.handle(call))
        except Refused as refused:
            if refused.is_violation:
                self.violations.append(f"{call.method} {call.path}: {refused}")
            return Answer(refused.status, self.api.error(refused.status, str(refused)))

    def _counted(self, handled: Handled) -> Answer:
        keys = [_key(item) for item in handled.items]
        with self.lock:
            self._items.update(keys)
        return handled.answer


class Exchange:
    """A request and its connection, as a fault gets them.

    Attributes:
        server: Who answers.
        call: The request.
        headers: Its headers, by their names in lower case.
    """

    def __init__(
        self, server: ModelServer, handler: BaseHTTPRequestHandler, received: Received, body: bytes
    ) -> None:
        self.server = server
        self.call = Call(received.method, received.path, received.headers.get("content-type", ""), body)
        self.headers = received.headers
        self._handler = handler

    def answer(self) -> Answer:
        """Make the answer that there is without a fault."""
        return self.server.answer(self.call, self.headers)

    def send(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            Hung: Nobody is there to take them.
        """
        try:
            self._handler.connection.sendall(data)
        except OSError as error:
            raise Hung from error

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, at its end or by a reset.

        Raises:
            Hung: Always.
        """
        if reset:
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise Hung

    def wait(self, event: threading.Event, seconds: float | None = None) -> None:
        """Wait for an event, for a time, or until the server stops."""
        waited = 0.0
        while not event.wait(0.01) and not self.server.stopping.is_set():
            waited += 0.01
            if seconds is not None and waited >= seconds:
                return


Fault = Callable[[Exchange], Answer | None]
"""What happens to a request that has come: another answer, none (`Exchange.close`), or None for the usual."""


@contextlib.contextmanager
def model_server(api: Api, *, port: int = 0, certificate: Certificate | None = None) -> Iterator[ModelServer]:
    """Run a server until the end of the context.

    Args:
        api: What it speaks.
        port: Of 127.0.0.1; 0 for a free one.
        certificate: For TLS.
    """
    server = ModelServer(api, port, certificate)
    server.up()
    try:
        yield server
    finally:
        server.stopping.set()
        server.down()


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    request_queue_size = 128

    def __init__(self, server: ModelServer) -> None:
        self.owner = server
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        super().__init__(("127.0.0.1", server.port), _Handler)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.socket.close()
        with self.owner.lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.owner.lock:
            self.owner.connections += 1
            self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in a thread of its own."""
        with contextlib.suppress(OSError, Hung):
            if self.owner.tls is not None:
                request = self._encrypted(request, self.owner.tls)
            super().finish_request(request, client_address)
        with self.owner.lock:
            self._open.discard(request)
        request.close()

    def _encrypted(self, plain: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        with self.owner.lock:
            encrypted = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            self._open.discard(plain)
            self._open.add(encrypted)
        try:
            encrypted.do_handshake()
        except OSError:
            encrypted.close()
            raise
        return encrypted

    def shutdown_request(self, request: Any) -> None:
        request.close()  # at once: `finish_request` has done what had to be done


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = _BUFFER_BYTES
    server: _Listener

    def do_POST(self) -> None:
        self._handle()

    do_GET = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_POST  # noqa: N815

    def _handle(self) -> None:
        owner = self.server.owner
        self.path = re.sub(r"http://[^/]+", "", self.path, count=1)  # where it is taken for a proxy
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        size = int(length) if length.isdecimal() else 0
        if owner.max_request_bytes is not None and size > owner.max_request_bytes:
            self._drain(size)
            owner.begin(Received(self.command, self.path, headers, size, b""))
            owner.end()
            self._send(Answer(413, owner.api.error(413, "Request payload size exceeds the limit")))
            return
        body = self.rfile.read(size)
        received = Received(self.command, self.path, headers, size, body if owner.keeps else b"")
        fault = owner.begin(received)
        exchange = Exchange(owner, self, received, body)
        try:
            answer = self._answer(exchange, fault)
        finally:
            owner.end()  # before the answer is out: who has it may send the next request at once
        self._send(answer)

    def _answer(self, exchange: Exchange, fault: Fault | None) -> Answer:
        owner = self.server.owner
        answer = fault(exchange) if fault else None
        if owner.latency:
            owner.stopping.wait(owner.latency)
        if answer is None:
            self._check_head(exchange)
            answer = exchange.answer()
        return answer

    def _check_head(self, exchange: Exchange) -> None:
        """Check what all of HTTP's requests need."""
        headers, violations = exchange.headers, self.server.owner.violations
        if "host" not in headers or self.request_version != "HTTP/1.1":
            violations.append(f"{self.requestline}: {self.request_version} without a host")
        if self.command == "POST" and not headers.get("content-length", "").isdecimal():
            violations.append(f"{self.requestline}: without Content-Length")
        if len({name.lower() for name in self.headers}) != len(self.headers):
            violations.append(f"{self.requestline}: repeated headers {sorted(self.headers)}")

    def _drain(self, size: int) -> None:
        while size > 0:
            size -= len(self.rfile.read(min(size, _BUFFER_BYTES))) or size

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not {"content-length", "transfer-encoding"} & {name.lower() for name in answer.headers}:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *args: Any) -> None:
        pass


def _tls(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # since it reads only files
        chain = Path(folder, "chain.pem")
        chain.write_bytes(certificate.certificate + certificate.key)
        context.load_cert_chain(chain)
    return context


def _key(values: Mapping[str, Any]) -> Any:
    """Name an item by its values."""
    return tuple((name, _frozen(values[name])) for name in sorted(values))


def _frozen(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, tuple(value.ravel().tolist())
    return value.encode() if isinstance(value, str) else value
