"""Connections of urllib3 that keep to a deadline, however slowly the other end sends or takes bytes.

The timeout of a socket is for one read or one write: a server that sends a byte now and then would never
exceed it. So each of them gets only the time that is left of the whole attempt. Only the resolution of names
takes as long as it does.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CONNECT_SECONDS = 15.0
"""How long one address may take to accept a connection, and then its TLS: there may be others."""

_BUFFER_BYTES = 1 << 16


@dataclass
class Attempt:
    """One sending of a request, by one thread.

    Attributes:
        deadline: When it must be over, by `time.monotonic`.
        doing: What it is at.
        is_reused: Whether the connection has carried other requests.
        has_answer: Whether a byte of an answer has come.
        has_end: Whether the other end has closed the connection.
        began: When it began.
    """

    deadline: float
    doing: str = "waiting for a connection to be free"
    is_reused: bool = True
    has_answer: bool = False
    has_end: bool = False
    began: float = field(default_factory=time.monotonic)

    def seconds_left(self) -> float:
        """Return the time until the deadline.

        Raises:
            TimeoutError: It is over.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


_current: ContextVar[Attempt] = ContextVar("attempt")


@contextlib.contextmanager
def attempt(deadline: float) -> Iterator[Attempt]:
    """Let all that this thread sends and receives end by a deadline."""
    made = Attempt(deadline)
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)


if TYPE_CHECKING:
    _Base = HTTPConnection
else:
    _Base = object


class _Bounded(_Base):
    """What a connection does otherwise; see the methods of `http.client.HTTPConnection`."""

    def connect(self) -> None:
        current = _current.get()
        current.doing, current.is_reused = "connecting", False
        self.timeout = min(current.seconds_left(), CONNECT_SECONDS)
        super().connect()

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        current = _current.get()
        current.doing = "sending the request"
        self.sock.settimeout(current.seconds_left())
        super().send(data)

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> HTTPResponse:  # type: ignore[override]
        _current.get().doing = "waiting for the answer"
        return HTTPResponse(_Source(sock), *args, **kwargs)  # type: ignore[arg-type]


class _HttpConnection(_Bounded, HTTPConnection):
    pass


class _HttpsConnection(_Bounded, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


POOLS = {"http": _HttpPool, "https": _HttpsPool}
"""By the scheme: what a `PoolManager` must make its pools of."""


class _Source:
    """Of a socket, what an `HTTPResponse` needs."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock), _BUFFER_BYTES)


class _Reader(io.RawIOBase):
    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        current = _current.get()
        self._sock.settimeout(current.seconds_left())
        count: int | None = self._raw.readinto(buffer)
        if count:
            current.doing, current.has_answer = "reading the answer", True
        elif count == 0:
            current.has_end = True
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
