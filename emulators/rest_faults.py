"""What can go wrong with an answer over HTTP: faults for `model_server.py`."""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Sequence
from dataclasses import replace

from emulators.model_server import Exchange, Fault
from emulators.rest_apis import Answer

_PIECE = bytes(1 << 20)


def status(code: int, message: str = "refused on purpose", **headers: str) -> Fault:
    """Answer with an error of the interface, with headers whose names have hyphens for underscores."""
    more = _named(headers)
    return lambda exchange: Answer(
        code, exchange.server.api.error(code, message), {"Content-Type": "application/json", **more}
    )


def body(content: bytes, code: int = 200, content_type: str = "application/json", **headers: str) -> Fault:
    """Answer with any bytes; headers have hyphens for underscores."""
    more = _named(headers)
    return lambda exchange: Answer(code, content, {"Content-Type": content_type, **more})


def html(code: int = 200) -> Fault:
    """Answer with a page, as what stands in front of servers does."""
    return body(b"<!doctype html><title>Sign in</title><p>Please sign in.", code, "text/html; charset=utf-8")


def at_random(share: float, codes: Sequence[int], seed: int, **headers: str) -> Fault:
    """Answer a share of the requests with one of some statuses."""
    generator, lock = random.Random(seed), threading.Lock()  # noqa: S311

    def maybe(exchange: Exchange) -> Answer | None:
        with lock:
            code = generator.choice(codes) if generator.random() < share else None
        return None if code is None else status(code, **headers)(exchange)

    return maybe


def wait_for(gate: threading.Event) -> Fault:
    """Keep a request waiting until a gate opens, or until the server stops."""
    return lambda exchange: exchange.wait(gate)


def close(*, reset: bool = False) -> Fault:
    """Close the connection in the place of an answer."""
    return lambda exchange: exchange.close(reset=reset)


def close_in_answer(share: float = 0.5, *, reset: bool = False) -> Fault:
    """Close the connection when a share of the answer's body has been sent."""

    def cut(exchange: Exchange) -> None:
        answer = exchange.answer()
        exchange.send(_head(answer) + answer.body[: int(len(answer.body) * share)])
        exchange.close(reset=reset)

    return cut


def close_in_head() -> Fault:
    """Close the connection in the middle of the answer's head."""

    def cut(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
        exchange.close()

    return cut


def trickle(seconds: float, *, head: bool = False, other: Answer | None = None) -> Fault:
    """Send the answer, or another, byte by byte, with a pause after each: its body, or its head as well."""

    def slowly(exchange: Exchange) -> None:
        answer = other or exchange.answer()
        start = b"" if head else _head(answer)
        exchange.send(start)
        for number in (_head(answer) + answer.body)[len(start) :]:
            exchange.send(bytes([number]))
            if exchange.server.stopping.wait(seconds):
                break
        exchange.close()

    return slowly


def large(size: int, *, told: bool = True) -> Fault:
    """Answer with many bytes, whose number is told before, or which come in chunks."""

    def send(exchange: Exchange) -> None:
        length = f"Content-Length: {size}" if told else "Transfer-Encoding: chunked"
        exchange.send(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{length}\r\n\r\n".encode())
        for start in range(0, size, len(_PIECE)):
            piece = _PIECE[: size - start]
            exchange.send(piece if told else b"%x\r\n%b\r\n" % (len(piece), piece))
        exchange.send(b"" if told else b"0\r\n\r\n")
        exchange.close()

    return send


def chunked(size: int = 7) -> Fault:
    """Send the usual answer in chunks."""

    def change(exchange: Exchange) -> Answer:
        answer = exchange.answer()
        pieces = [answer.body[start : start + size] for start in range(0, len(answer.body), size)]
        encoded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        return replace(answer, body=encoded, headers={**answer.headers, "Transfer-Encoding": "chunked"})

    return change


def gzipped() -> Fault:
    """Compress the answer, though nobody has asked for it."""

    def change(exchange: Exchange) -> Answer:
        answer = exchange.answer()
        headers = {**answer.headers, "Content-Encoding": "gzip"}
        return replace(answer, body=gzip.compress(answer.body), headers=headers)

    return change


def truncated_json(share: float = 0.5) -> Fault:
    """Leave out the end of the body; its length is told as it is sent."""

    def change(exchange: Exchange) -> Answer:
        answer = exchange.answer()
        return replace(answer, body=answer.body[: int(len(answer.body) * share)])

    return change


def other_count(change_by: int = -1) -> Fault:
    """Answer for fewer items than came, or for more."""

    def change(exchange: Exchange) -> Answer:
        answer = exchange.answer()
        told = json.loads(answer.body)
        for name in ("predictions", "outputs"):
            if isinstance(told.get(name), list):
                rows = told[name]
                told[name] = rows[:change_by] if change_by < 0 else [*rows, *rows[:change_by]]
        return replace(answer, body=json.dumps(told).encode())

    return change


def refuse_items(*needles: bytes, code: int = 400) -> Fault:
    """Refuse each request whose body has one of some bytes in it."""
    refuse = status(code, "an item is refused on purpose")
    return lambda exchange: refuse(exchange) if any(one in exchange.call.body for one in needles) else None


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _head(answer: Answer) -> bytes:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    lines = [f"HTTP/1.1 {answer.status} Told", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
