"""What is let through to KServe's application, and what is not; without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from pipeline.serving import gate as gates
from pipeline.serving.gate import MAX_REQUESTS, MAX_REQUESTS_HELD, Gate, Message

MAX_BYTES = 10
PREDICT = "/v1/models/m:predict"


class Application:
    """Answers with the body of the request, when it may go on."""

    def __init__(self) -> None:
        self.scopes: list[Message] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body = (await receive())["body"]
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Client:
    """One request, and its answer."""

    def __init__(self, chunks: Sequence[bytes] = (b"",), path: str = PREDICT, headers: Any = ()) -> None:
        self._chunks = list(chunks)
        self.scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._chunks:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._chunks.pop(0), "more_body": bool(self._chunks)}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def ask(self, gate: Gate) -> None:
        await gate(self.scope, self.receive, self.send)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        body: bytes = self.sent[1]["body"]
        return body


def told(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(size).encode())]


def run(client: Client) -> Application:
    """Ask once, and return the application."""

    async def ask() -> Application:
        application = Application()
        gate = Gate(application, PREDICT, MAX_BYTES)
        await client.ask(gate)
        assert gate.running == 0
        return application

    return asyncio.run(ask())


@pytest.mark.parametrize("headers", [[], told(MAX_BYTES)])
def test_a_body_passes_as_a_whole(headers: Any) -> None:
    client = Client([b"01234", b"56789"], headers=headers)
    run(client)
    assert (client.status, client.body) == (200, b"0123456789")


@pytest.mark.parametrize("client", [Client([b"01234", b"56789", b"0"]), Client([b"0"], headers=told(11))])
def test_a_body_that_is_too_large_does_not(client: Client) -> None:
    assert run(client).scopes == []
    assert client.status == 413


def test_nobody_waits_for_a_client_that_has_left() -> None:
    client = Client([])
    assert run(client).scopes == []
    assert client.sent == []


def test_a_client_that_sends_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "SECONDS_TO_SEND", 0.01)
    client = Client()
    client.receive = asyncio.Event().wait  # type: ignore[assignment, method-assign]
    run(client)
    assert client.status == 408


def test_a_cloud_event_is_taken_for_its_data() -> None:
    headers = [(b"ce-id", b"1"), (b"content-type", b"application/cloudevents+json"), (b"accept", b"*/*")]
    (scope,) = run(Client([b"{}"], headers=headers)).scopes
    assert scope["headers"] == [(b"content-type", b"application/json"), (b"accept", b"*/*")]


@pytest.mark.parametrize(("count", "size"), [(MAX_REQUESTS, 0), (MAX_REQUESTS_HELD, MAX_BYTES)])
def test_there_is_room_for_so_many_requests_only(count: int, size: int) -> None:
    async def ask() -> None:
        application = Application()
        application.go_on.clear()
        gate = Gate(application, PREDICT, MAX_BYTES)
        clients = [Client([b"x" * size], headers=told(size)) for _ in range(count)]
        tasks = [asyncio.ensure_future(client.ask(gate)) for client in clients]
        while len(application.scopes) < count:
            await asyncio.sleep(0)

        refused = Client([b"x"], headers=told(1))
        await refused.ask(gate)
        assert refused.status == 503
        assert (b"retry-after", b"1") in refused.sent[0]["headers"]
        assert orjson.loads(refused.body) == {"error": "the server has too much to do"}

        application.go_on.set()
        await asyncio.gather(*tasks)
        assert {client.status for client in clients} == {200}
        taken = Client([b"x"], headers=told(1))
        await taken.ask(gate)
        assert taken.status == 200

    asyncio.run(ask())
