"""Calls over HTTP through the proxy of the environment."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from emulators.certificates import self_signed
from emulators.processes import free_port
from emulators.rest_apis import Answer
from tests.transforms.predictors.remote.http_clients import (
    PATH,
    SECONDS,
    Tokens,
    ask,
    client,
    failure,
    failure_at,
    predictions,
    request_to,
    summing_server,
)
from transforms.predictors.remote.wire import Action

HOST = "model.invalid"
"""A name that only the proxy knows."""

CERTIFICATE = self_signed(HOST)
CA = CERTIFICATE.certificate.decode()


@dataclass
class Proxy:
    """A proxy that leads every name to one port.

    Attributes:
        port: Of 127.0.0.1, where it listens.
        target: The port of 127.0.0.1 that it leads to.
        refusal: The status line with which it refuses; None for letting through.
        heads: What requests begin with, up to the empty line.
    """

    port: int = 0
    target: int = 0
    refusal: str | None = None
    heads: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        head, rest = self._head(client)
        self.heads.append(head)
        if self.refusal:
            client.sendall(f"HTTP/1.1 {self.refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with socket.create_connection(("127.0.0.1", self.target)) as server:
            if head.startswith("CONNECT "):
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(_to_origin(head).encode() + rest)
            _pass_both_ways(client, server)

    def _head(self, client: socket.socket) -> tuple[str, bytes]:
        read = b""
        while b"\r\n\r\n" not in read:
            piece = client.recv(1 << 16)
            if not piece:
                break
            read += piece
        head, end, rest = read.partition(b"\r\n\r\n")
        return (head + end).decode(), rest


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Proxy(listener.getsockname()[1])

        def accept() -> None:
            threads = []
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threads.append(threading.Thread(target=_serve, args=(running, connection)))
                    threads[-1].start()
            for thread in threads:
                thread.join()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield running
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()


def test_https_goes_through_a_tunnel(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with summing_server(certificate=CERTIFICATE) as server:
        proxy.target = server.port
        address = f"https://{HOST}:8501"
        with client(address, Tokens(["secret-token"]), ca=CA) as transport:
            for _ in range(2):
                assert predictions(transport.call(request_to(address), SECONDS).body) == [3.0]
        assert server.connections == 1
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {HOST}:8501 ")
    assert "secret-token" not in head


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_http_goes_through_the_proxy(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, proxy.url.removeprefix("http://"))  # as many write it
    with summing_server() as server:
        proxy.target = server.port
        address = f"http://{HOST}"
        with client(address) as transport:
            assert predictions(transport.call(request_to(address), SECONDS).body) == [3.0]
    assert proxy.heads[0].startswith(f"POST {address}{PATH}:predict ")


def test_a_password_is_handed_to_the_proxy_only(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:se%40cret@127.0.0.1:{proxy.port}")
    with summing_server(certificate=CERTIFICATE) as server:
        proxy.target = server.port
        address = f"https://{HOST}"
        with client(address, ca=CA) as transport:
            transport.call(request_to(address), SECONDS)
        assert "proxy-authorization" not in server.received[0].headers
    expected = base64.b64encode(b"me:se@cret").decode()
    assert f"proxy-authorization: Basic {expected}".lower() in proxy.heads[0].lower()


@pytest.mark.parametrize(
    ("refusal", "action"),
    [
        ("407 Proxy Authentication Required", Action.GIVE_UP),
        ("403 Forbidden", Action.GIVE_UP),
        ("502 Bad Gateway", Action.RETRY),
    ],
)
def test_a_proxy_that_refuses_is_told_by_its_status(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, refusal: str, action: Action
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret-password@127.0.0.1:{proxy.port}")
    proxy.refusal = refusal
    failed = failure_at(f"https://{HOST}")
    assert (failed.action, failed.status) == (action, "proxy")
    assert f"the proxy refuses to connect to {HOST}:443: HTTP {refusal[:3]}" in failed.message
    assert "secret" not in failed.message


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://me:secret-password@127.0.0.1:{free_port()}")
    failed = failure_at(f"{scheme}://{HOST}")
    assert (failed.action, failed.status) == (Action.RETRY, "connection")
    assert f"the proxy of {HOST}" in failed.message
    assert "secret" not in failed.message


def test_a_proxy_that_repeats_what_it_was_sent_brings_no_secret_into_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with summing_server() as proxy:
        proxy.fault = lambda exchange: Answer(
            407, f"{exchange.headers['proxy-authorization']} is not me:secret-password".encode()
        )
        monkeypatch.setenv("HTTP_PROXY", proxy.address.replace("//", "//me:secret-password@"))
        failed = failure_at(f"http://{HOST}")
    assert failed.status == "407"
    assert "*** is not me:***" in failed.message


def test_a_certificate_is_checked_through_a_tunnel(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with summing_server(certificate=CERTIFICATE) as server:
        proxy.target = server.port
        failed = failure_at("https://other.invalid", ca=CA)
    assert (failed.action, failed.status) == (Action.GIVE_UP, "tls")
    assert "for another name" in failed.message


def test_a_proxy_that_says_nothing_is_given_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert failure_at(f"https://{HOST}", 0.3).status == "timeout"


def test_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    with summing_server() as server:
        assert ask(server, credentials=Tokens(["secret-token"])) == [3.0]


@pytest.mark.parametrize("exceptions", [HOST, ".invalid", "*"])
def test_the_hosts_of_no_proxy_are_asked_directly(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, exceptions: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", exceptions)
    address = f"http://{HOST}"
    with client(address) as transport:
        assert "is not known" in failure(transport, request_to(address)).message
    assert proxy.heads == []


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1"])
def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALL_PROXY", url)
    with pytest.raises(ValueError, match="must be http:// or https://"), client(f"http://{HOST}"):
        pass


def _serve(proxy: Proxy, connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        proxy.serve(connection)


def _to_origin(head: str) -> str:
    line, end, rest = head.partition("\r\n")
    method, url, version = line.split(" ")
    return f"{method} {urlsplit(url).path} {version}{end}{rest}"


def _pass_both_ways(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_pass, args=(other, one))
    back.start()
    _pass(one, other)
    back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
