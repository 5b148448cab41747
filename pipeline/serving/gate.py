"""What stands before KServe's application, and lets pass only what is meant for it.

KServe has no bound for a request's size, and offers strangers to unload the model. The gate passes on what
is listed here, one whole body at a time, as long as there is room; and it counts what is under way, so that
a server that stops can wait for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.serving.answers import CONTENT_TYPE, error_body

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_REQUESTS = 100
MAX_REQUESTS_HELD = 8
"""How many requests of the largest size there is memory for."""

RETRY_SECONDS = 1
SECONDS_TO_SEND = 60.0

_PREDICTIONS = re.compile(r"/v1/models/[^/:]+:predict")
_V2_PREDICTIONS = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?/infer")
_WHILE_STOPPING = re.compile(r"/|/metrics|/v2/health/live")
_ASKED = re.compile(
    r"/|/metrics|/v1/models(/[^/:]+)?|/v2|/v2/health/(live|ready)|/v2/models(/[^/]+(/ready)?)?"
)

_STOPPING = "the server is stopping"


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Gone(Exception):
    """The client has left before its request was whole."""


@dataclass
class Gate:
    """An ASGI application around another.

    Attributes:
        application: KServe's.
        predictions: Where predictions are, for whoever looks elsewhere.
        max_request_bytes: A larger body is refused.
        stopping: Whether nothing new is taken.
        running: How many requests are under way.
    """

    application: Application
    predictions: str
    max_request_bytes: int
    stopping: bool = False
    running: int = 0
    _held: int = field(default=0, init=False)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do it."""
        try:
            self._check(scope)
            if scope["method"] == "GET":
                await self.application(scope, receive, send)
            else:
                await self._pass_on(scope, receive, send)
        except _Refused as refused:
            await _answer(send, refused)
        except _Gone:
            pass

    def _check(self, scope: Message) -> None:
        method, path = scope["method"], scope["path"]
        if self.stopping and not _WHILE_STOPPING.fullmatch(path):
            raise _Refused(503, _STOPPING)
        if _V2_PREDICTIONS.fullmatch(path):
            raise _Refused(501, f"predictions are made by the V1 protocol only: POST {self.predictions}")
        wanted = "POST" if _PREDICTIONS.fullmatch(path) else "GET" if _ASKED.fullmatch(path) else None
        if wanted is None:
            raise _Refused(404, f"there is nothing of that name; predictions are at POST {self.predictions}")
        if method != wanted:
            raise _Refused(405, f"{wanted} is the method for it")

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        told = _told_size(scope)
        if told is not None and told > self.max_request_bytes:
            raise self._too_large(told)
        most = self.max_request_bytes if told is None else told
        if self.running and (
            self.running >= MAX_REQUESTS or self._held + most > MAX_REQUESTS_HELD * self.max_request_bytes
        ):
            raise _Refused(503, "the server has too much to do")
        self.running += 1
        self._held += most
        try:
            body = await self._body(receive)
            await self.application(_plain(scope), _replayed(body, receive), send)
        except asyncio.CancelledError as error:  # only where the server can wait no longer
            raise _Refused(503, _STOPPING) from error
        finally:
            self._held -= most
            self.running -= 1

    async def _body(self, receive: Receive) -> bytes:
        try:
            return await asyncio.wait_for(self._received(receive), SECONDS_TO_SEND)
        except asyncio.TimeoutError as error:
            message = f"the request did not come within {SECONDS_TO_SEND:g} seconds"
            raise _Refused(408, message) from error

    async def _received(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _Gone
            body += message.get("body", b"")
            if len(body) > self.max_request_bytes:
                raise self._too_large(None)
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self, size: int | None) -> _Refused:
        has = "is larger than this server takes" if size is None else f"has {size:,} bytes"
        return _Refused(
            413, f"the request {has}; at most {self.max_request_bytes:,} bytes: send fewer instances at once"
        )


def _told_size(scope: Message) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None


def _plain(scope: Message) -> Message:
    """Leave out what makes KServe take a body for a CloudEvent, whose answer would be one as well."""
    return {**scope, "headers": list(_plain_headers(scope["headers"]))}


def _plain_headers(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"content-type":
            yield name, CONTENT_TYPE.encode()
        elif not name.startswith(b"ce-"):
            yield name, value


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a whole body."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again


async def _answer(send: Send, refused: _Refused) -> None:
    body = error_body(refused.message)
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if refused.status == 503:  # noqa: PLR2004
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
