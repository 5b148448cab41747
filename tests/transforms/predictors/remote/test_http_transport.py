"""Calls over HTTP, to a server that really answers so."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from emulators import rest_faults
from emulators.model_server import Fault, ModelServer, model_server
from emulators.processes import free_port
from emulators.rest_apis import Answer, VertexApi
from tests.transforms.predictors.remote.http_clients import (
    MAX_ANSWER_BYTES,
    PATH,
    SECONDS,
    Tokens,
    adding,
    ask,
    client,
    failure,
    failure_at,
    predictions,
    request_to,
    summing_server,
)
from transforms.predictors.remote.failures import HTTP_ACTIONS, http_action
from transforms.predictors.remote.http_transport import user_agent
from transforms.predictors.remote.wire import Action, Request

STATUSES = sorted(
    {*HTTP_ACTIONS, 300, 301, 302, 303, 304, 305, 307, 308, 402, 418, 424, 499, 501, 505, 511, 599}
)
SHORT = 0.3
"""Seconds after which a test lets a call time out."""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with summing_server() as running:
        yield running


@contextlib.contextmanager
def silent_port() -> Iterator[tuple[str, list[socket.socket]]]:
    """Accept connections, and neither read nor send; yield the address, and who has come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        accepted: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            thread.join()
            for one in accepted:
                one.close()


@contextlib.contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """Answer a connection with any bytes, and close it; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(raw)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1 << 16)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_an_answer_is_returned_with_its_headers(server: ModelServer) -> None:
    with client(server.address) as transport:
        reply = transport.call(request_to(server.address, 1, 2.5), SECONDS)
    assert predictions(reply.body) == [3.5]
    assert reply.headers["content-type"] == "application/json"


def test_a_request_says_what_it_is_and_who_asks(server: ModelServer) -> None:
    ask(server)
    headers = server.received[0].headers
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"] == user_agent()
    assert headers["user-agent"].startswith("beam-predict")
    assert not headers.keys() & {"cookie", "authorization", "transfer-encoding"}


def test_metadata_is_got(server: ModelServer) -> None:
    with client(server.address) as transport:
        reply = transport.call(Request(f"{server.address}{PATH}/metadata", method="GET"), SECONDS)
    assert b"signature_def" in reply.body
    assert "content-type" not in server.received[0].headers


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_has_the_action_of_the_table(server: ModelServer, status: int) -> None:
    server.fault = rest_faults.status(status, "told so")
    failed = failure_at(server.address)
    assert (failed.action, failed.status) == (http_action(status), str(status))
    if status != 304:  # which has no body
        assert "told so" in failed.message
    assert failed.overloaded is (status in {429, 503})
    assert server.requests == 1


def test_the_words_of_google_are_read() -> None:
    resource = "projects/p/locations/l/endpoints/1"
    with model_server(VertexApi(resource, adding())) as server:
        server.fault = rest_faults.status(400, "Bad instance")
        with client(server.address) as transport:
            failed = failure(transport, Request(f"{server.address}/v1/{resource}:predict", b"{}"))
    assert failed.message == "HTTP 400 Bad Request: INVALID_ARGUMENT: Bad instance"


def test_a_wrong_model_is_told_in_the_servers_words(server: ModelServer) -> None:
    with client(server.address) as transport:
        failed = failure(
            transport, Request(f"{server.address}/v1/models/other:predict", b'{"instances":[1]}')
        )
    assert failed.action is Action.GIVE_UP
    assert "Servable not found for request: Latest(other)" in failed.message


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        ("10000", 10_000, 10_000),
        (formatdate(time.time() + 3600, usegmt=True), 3000, 3600),
        (formatdate(time.time() - 3600, usegmt=True), 0, 0),
    ],
    ids=["seconds", "many-seconds", "date", "date-in-the-past"],
)
def test_retry_after_is_heard(server: ModelServer, value: str, least: float, most: float) -> None:
    server.fault = rest_faults.status(503, retry_after=value)
    failed = failure_at(server.address)
    assert failed.retry_after is not None
    assert least <= failed.retry_after <= most


@pytest.mark.parametrize("value", ["soon", "-5", ""])
def test_a_retry_after_that_is_none_is_passed_over(server: ModelServer, value: str) -> None:
    server.fault = rest_faults.status(503, retry_after=value)
    assert failure_at(server.address).retry_after is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(server: ModelServer, status: int) -> None:
    with summing_server() as other:
        server.fault = rest_faults.status(status, location=f"{other.address}/login?token=abcdefgh")
        failed = failure_at(server.address)
        assert other.received == []
    assert failed.action is Action.GIVE_UP
    assert f"to {other.address}/login" in failed.message
    assert "abcdefgh" not in failed.message


def test_a_page_is_returned_as_it_is(server: ModelServer) -> None:
    server.fault = rest_faults.html()
    with client(server.address) as transport:
        reply = transport.call(request_to(server.address), SECONDS)
    assert reply.body.startswith(b"<!doctype html>")
    assert reply.headers["content-type"].startswith("text/html")


def test_a_chunked_answer_is_put_together(server: ModelServer) -> None:
    server.fault = rest_faults.chunked()
    with client(server.address) as transport:
        for _ in range(3):
            assert predictions(transport.call(request_to(server.address), SECONDS).body) == [3.0]
    assert server.connections == 1


def test_a_compressed_answer_is_refused(server: ModelServer) -> None:
    server.fault = rest_faults.gzipped()
    failed = failure_at(server.address)
    assert (failed.action, failed.status) == (Action.GIVE_UP, "answer")
    assert "gzip" in failed.message


@pytest.mark.parametrize("told", [True, False])
def test_an_answer_of_200_megabytes_is_not_read(server: ModelServer, told: bool) -> None:
    server.fault = rest_faults.large(200 << 20, told=told)
    gc.collect()
    tracemalloc.start()
    try:
        failed = failure_at(server.address)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (failed.action, failed.status) == (Action.SPLIT, "answer size")
    assert f"{MAX_ANSWER_BYTES:,} bytes" in failed.message
    assert peak < 16 << 20


def test_an_answer_of_just_the_limit_is_read(server: ModelServer) -> None:
    server.fault = rest_faults.body(b"x" * 1000)
    with client(server.address, max_answer_bytes=1000) as transport:
        assert len(transport.call(request_to(server.address), SECONDS).body) == 1000
    assert failure_at(server.address, max_answer_bytes=999).status == "answer size"


def test_the_body_of_an_error_is_not_read_to_its_end(server: ModelServer) -> None:
    server.fault = rest_faults.body(b"x" * (50 << 20), 503)
    failed = failure_at(server.address)
    assert failed.status == "503"
    assert len(failed.message) < 500


@pytest.mark.parametrize("code", [200, 503])
@pytest.mark.parametrize("head", [True, False])
def test_an_answer_that_trickles_ends_with_the_time(server: ModelServer, code: int, head: bool) -> None:
    server.fault = rest_faults.trickle(0.02, head=head, other=Answer(code, b"x" * 1000))
    began = time.monotonic()
    failed = failure_at(server.address, SHORT)
    assert time.monotonic() - began < 10  # all of it would take 20 s
    assert failed.action is Action.RETRY
    assert failed.status == ("503" if code == 503 and not head else "timeout")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_says_nothing_is_given_its_time(scheme: str) -> None:
    with silent_port() as (address, _):
        failed = failure_at(address.replace("http", scheme), SHORT)
    assert (failed.action, failed.status) == (Action.RETRY, "timeout")
    assert address.removeprefix("http://") in failed.message
    assert ("connecting" if scheme == "https" else "waiting for the answer") in failed.message


def test_a_server_that_does_not_read_is_given_its_time() -> None:
    with silent_port() as (address, _), client(address) as transport:
        failed = failure(transport, Request(f"{address}{PATH}:predict", b"x" * (64 << 20)), SHORT)
    assert (failed.action, failed.status) == (Action.RETRY, "timeout")
    assert "sending the request" in failed.message


def test_who_finds_no_connection_free_waits_no_longer_than_its_time(server: ModelServer) -> None:
    gate = threading.Event()
    server.faults = [rest_faults.wait_for(gate)]
    with client(server.address, connections=1) as transport, ThreadPoolExecutor(1) as pool:
        first = pool.submit(transport.call, request_to(server.address), SECONDS)
        while not server.in_flight:
            time.sleep(0.001)
        failed = failure(transport, request_to(server.address), SHORT)
        gate.set()
        assert predictions(first.result().body) == [3.0]
    assert (failed.action, failed.status) == (Action.RETRY, "timeout")
    assert "waiting for a connection" in failed.message
    assert server.requests == 1


def test_a_call_without_time_sends_nothing(server: ModelServer) -> None:
    assert failure_at(server.address, 0.0).status == "timeout"
    assert failure_at(server.address, -5.0).status == "timeout"
    assert server.requests == 0


def test_a_port_where_nobody_listens_is_a_lost_connection() -> None:
    port = free_port()
    failed = failure_at(f"http://127.0.0.1:{port}")
    assert (failed.action, failed.status) == (Action.RETRY, "connection")
    assert failed.message == f"127.0.0.1:{port} cannot be reached: Connection refused"


def test_a_name_that_is_not_known_is_a_lost_connection() -> None:
    failed = failure_at("http://no-such-host.invalid:8501")
    assert (failed.action, failed.status) == (Action.RETRY, "connection")
    assert "the name of no-such-host.invalid:8501 is not known" in failed.message


@pytest.mark.parametrize(
    "fault",
    [
        rest_faults.close(),
        rest_faults.close(reset=True),
        rest_faults.close_in_head(),
        rest_faults.close_in_answer(),
        rest_faults.close_in_answer(reset=True),
        rest_faults.close_in_answer(0.0),
    ],
    ids=["at once", "reset", "in the head", "in the body", "reset in the body", "before the body"],
)
def test_a_connection_that_is_lost_is_a_failure_to_try_again(server: ModelServer, fault: Fault) -> None:
    server.fault = fault
    failed = failure_at(server.address)
    assert (failed.action, failed.status) == (Action.RETRY, "connection")
    assert server.address.removeprefix("http://") in failed.message
    assert server.requests == 1  # for the connection was new: the server is to blame


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain",
    ],
)
def test_an_answer_that_is_cut_off_is_never_taken_for_a_whole_one(raw: bytes) -> None:
    with answering(raw) as address:
        failed = failure_at(address)
    assert (failed.action, failed.status) == (Action.RETRY, "connection")


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00\x00\x18\x04\x00\x00\x00\x00\x00\x00\x04\x00\x3f",  # HTTP/2, as gRPC's servers begin
        b"HTTP/1.1 okay\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshort",
    ],
)
def test_what_is_no_http_is_given_up(raw: bytes) -> None:
    with answering(raw) as address:
        failed = failure_at(address)
    assert (failed.action, failed.status) == (Action.GIVE_UP, "answer")


def test_connections_are_kept(server: ModelServer) -> None:
    with client(server.address) as transport:
        for fault in (None, rest_faults.status(503), rest_faults.status(400), None):
            server.faults = [fault]
            if fault is None:
                transport.call(request_to(server.address), SECONDS)
            else:
                failure(transport, request_to(server.address))
    assert (server.requests, server.connections) == (4, 1)


def test_threads_share_no_more_connections_than_are_allowed(server: ModelServer) -> None:
    with client(server.address, connections=3) as transport, ThreadPoolExecutor(12) as pool:

        def double(number: int) -> float:
            body = transport.call(request_to(server.address, number, number), SECONDS).body
            answer: float = predictions(body)[0]
            return answer

        assert list(pool.map(double, range(60))) == [2.0 * number for number in range(60)]
    assert server.requests == 60
    assert server.connections <= 3
    assert server.most_in_flight <= 3


@pytest.mark.parametrize("reset", [False, True])
def test_an_old_connection_that_was_closed_meanwhile_is_no_failure(server: ModelServer, reset: bool) -> None:
    server.faults = [None, rest_faults.close(reset=reset)]
    with client(server.address) as transport:
        for _ in range(2):
            assert predictions(transport.call(request_to(server.address), SECONDS).body) == [3.0]
    assert server.requests == 3


def test_a_server_that_closes_new_connections_as_well_is_a_failure(server: ModelServer) -> None:
    server.faults = [None, rest_faults.close(), rest_faults.close()]
    with client(server.address) as transport:
        transport.call(request_to(server.address), SECONDS)
        assert failure(transport, request_to(server.address)).status == "connection"
    assert server.requests == 3


def test_an_answer_that_had_begun_is_not_asked_for_again(server: ModelServer) -> None:
    server.faults = [None, rest_faults.close_in_head()]
    with client(server.address) as transport:
        transport.call(request_to(server.address), SECONDS)
        assert failure(transport, request_to(server.address)).status == "connection"
    assert server.requests == 2


def test_a_server_that_was_started_anew_is_found(server: ModelServer) -> None:
    with client(server.address) as transport:
        transport.call(request_to(server.address), SECONDS)
        server.down()
        assert failure(transport, request_to(server.address)).status == "connection"
        server.up()
        assert predictions(transport.call(request_to(server.address), SECONDS).body) == [3.0]


def test_a_token_that_has_expired_is_renewed(server: ModelServer) -> None:
    server.required = {"authorization": "Bearer second"}
    tokens = Tokens(["first", "second"])
    with client(server.address, tokens) as transport:
        for _ in range(2):
            assert predictions(transport.call(request_to(server.address), SECONDS).body) == [3.0]
    assert [one.headers["authorization"] for one in server.received] == [
        "Bearer first",
        "Bearer second",
        "Bearer second",
    ]


@pytest.mark.parametrize(("tokens", "requests"), [([], 1), (["old"], 1), (["old", "older", "oldest"], 2)])
def test_a_401_is_answered_with_one_newer_token_at_most(
    server: ModelServer, tokens: list[str], requests: int
) -> None:
    server.required = {"authorization": "Bearer right"}
    failed = failure_at(server.address, credentials=Tokens(tokens))
    assert (failed.action, failed.status) == (Action.GIVE_UP, "401")
    assert "--endpoint_auth" in failed.message
    assert server.requests == requests


def test_a_server_that_repeats_the_request_brings_no_secret_into_a_message(server: ModelServer) -> None:
    server.fault = lambda exchange: Answer(
        403,
        f"{exchange.headers} {exchange.call.path}".encode(),
        {"Location": exchange.headers["authorization"]},
    )
    with client(server.address, Tokens(["abcdef-123456"])) as transport:
        failed = failure(transport, Request(f"{server.address}{PATH}:predict", b"{}"))
    assert "***" in failed.message
    assert "abcdef" not in failed.message


@pytest.mark.parametrize(
    "token", ["se\ncret-secret", "sécret-secret", "\N{SNOWMAN}secret-secret", "secret-secret\r\nX: y"]
)
def test_a_token_that_no_header_can_have_is_not_shown(server: ModelServer, token: str) -> None:
    failed = failure_at(server.address, credentials=Tokens([token]))
    assert (failed.action, failed.status) == (Action.GIVE_UP, "credentials")
    assert "secret" not in f"{failed!r} {failed.__cause__!r} {failed.__context__!r}"
    assert server.requests == 0


def test_a_request_that_cannot_be_written_is_given_up(server: ModelServer) -> None:
    with client(server.address) as transport:
        failed = failure(transport, Request(f"{server.address}{PATH}:predict", method="G\r\nT"))
    assert (failed.action, failed.status) == (Action.GIVE_UP, "request")


def test_neither_cookies_nor_netrc_are_sent(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    server.faults = [rest_faults.body(b"{}", set_cookie="a=b")]
    with client(server.address) as transport:
        for _ in range(2):
            transport.call(request_to(server.address), SECONDS)
    assert not [one for one in server.received if one.headers.keys() & {"cookie", "authorization"}]


def test_a_server_that_answers_before_it_has_read_all_is_heard_or_asked_again() -> None:
    raw = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with answering(raw) as address, client(address) as transport:
        failed = failure(transport, Request(f"{address}{PATH}:predict", b"x" * (8 << 20)))
    assert (failed.action, failed.status) in {(Action.SPLIT, "413"), (Action.RETRY, "connection")}
