"""Calls over gRPC, to servers that really answer so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from emulators.certificates import self_signed
from emulators.processes import free_port
from emulators.tcp_relay import relay_to
from emulators.tf_serving_grpc import TfServing, act, answer, refuse, tf_serving, wait_for
from tests.transforms.predictors.remote.grpc_clients import (
    DOUBLES,
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    Tokens,
    client,
    doubling,
    failure,
    format_of,
)
from transforms.predictors.remote.failures import GRPC_ACTIONS
from transforms.predictors.remote.grpc_transport import GrpcTransport
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request

WIRE = format_of("doubling")
MODELS = {"doubling": {1: doubling(), 2: doubling()}}
SECONDS = 30


def request(
    number: float = 1, place: str = "doubling", signature: str = "serving_default", **inputs: Any
) -> Request:
    wire = format_of(place, signature)
    values = inputs or {"x": np.array([number, number], np.float32)}
    return wire.request([wire.encode(values)], {}, None)


def doubled(reply: Reply) -> tuple[float, str | None]:
    parsed = WIRE.parse(reply, 1, DOUBLES.outputs)
    return float(parsed.rows[0]["y"][0]), parsed.model_version  # type: ignore[index]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[TfServing]:
    with tf_serving(MODELS) as serving:
        serving.labels = {"doubling": {"stable": 1}}
        yield serving


@pytest.fixture
def transport(server: TfServing) -> Iterator[GrpcTransport]:
    with client(server.address) as opened:
        yield opened


class TestAnswers:
    def test_a_request_is_answered(self, transport: GrpcTransport) -> None:
        assert doubled(transport.call(request(4), SECONDS)) == (8, "2")

    @pytest.mark.parametrize(
        ("place", "version"),
        [("doubling", "2"), ("doubling/versions/1", "1"), ("doubling/labels/stable", "1")],
    )
    def test_the_version_that_is_asked_for_answers(
        self, transport: GrpcTransport, place: str, version: str
    ) -> None:
        assert doubled(transport.call(request(1, place), SECONDS)) == (2, version)

    def test_each_of_many_threads_gets_its_own_answer(self, transport: GrpcTransport) -> None:
        with ThreadPoolExecutor(16) as pool:
            replies = pool.map(lambda number: transport.call(request(number), SECONDS), range(200))
            assert [doubled(reply)[0] for reply in replies] == [2 * number for number in range(200)]

    def test_one_connection_carries_what_is_under_way(self, server: TfServing) -> None:
        gate = threading.Event()
        server.fault = wait_for(gate)
        with (
            relay_to(server.address) as relay,
            client(relay.address) as transport,
            ThreadPoolExecutor(8) as pool,
        ):
            waiting = [pool.submit(transport.call, request(number), SECONDS) for number in range(8)]
            until(lambda: len(server.received) == 8)
            gate.set()
            assert [doubled(call.result())[0] for call in waiting] == [2 * number for number in range(8)]
            assert relay.connections == 1

    def test_the_deadline_goes_along(self, server: TfServing, transport: GrpcTransport) -> None:
        transport.call(request(), 20)
        (received,) = server.received
        assert received.seconds_left is not None
        assert 10 < received.seconds_left < 22  # gRPC rounds up


class TestRefusals:
    def test_the_table_has_every_status(self) -> None:
        assert GRPC_ACTIONS.keys() == {code.name for code in grpc.StatusCode} - {"OK"}

    @pytest.mark.parametrize("code", GRPC_ACTIONS)
    def test_each_status_has_its_action(self, server: TfServing, transport: GrpcTransport, code: str) -> None:
        server.faults = [refuse(code, "in the server's words")]
        failed = failure(transport, request())
        assert (failed.action, failed.status, failed.retry_after) == (GRPC_ACTIONS[code], code, None)
        assert failed.overloaded == (code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"))
        assert "in the server's words" in failed.message
        assert len(server.received) == 1  # gRPC itself has not tried again
        assert doubled(transport.call(request(), SECONDS)) == (2, "2")

    @pytest.mark.parametrize(
        ("wanted", "status", "words"),
        [
            (request(place="absent"), "NOT_FOUND", r"Servable not found for request: Latest\(absent\)"),
            (request(place="doubling/versions/7"), "NOT_FOUND", r"Servable .* Specific\(doubling, 7\)"),
            (
                request(place="doubling/labels/l"),
                "INVALID_ARGUMENT",
                "Unrecognized servable version label: l",
            ),
            (request(signature="s"), "FAILED_PRECONDITION", 'Serving signature key "s" not found'),
            (request(y=b""), "INVALID_ARGUMENT", "input tensor alias not found in signature: y"),
            (request(x=b"", y=b""), "INVALID_ARGUMENT", "input size does not match signature: 2!=1"),
            (request(x=b""), "INVALID_ARGUMENT", "Expects x to be float32 but string is provided"),
            (request(x=np.zeros(3, np.float32)), "INVALID_ARGUMENT", r"the shape \[1, 3\] is incompatible"),
            (Request("/tensorflow.serving.PredictionService/Other"), "UNIMPLEMENTED", "Method not found"),
        ],
    )
    def test_what_tensorflow_serving_refuses_is_told_in_its_words(
        self, transport: GrpcTransport, wanted: Request, status: str, words: str
    ) -> None:
        with pytest.raises(CallFailed, match=words) as caught:
            transport.call(wanted, SECONDS)
        assert caught.value.status == status

    @pytest.mark.parametrize(
        ("told", "seconds"), [("2500", 2.5), ("0", 0), ("-1", None), ("soon", None), ("9" * 5_000, None)]
    )
    def test_the_wait_that_the_server_asks_for_is_told(
        self, server: TfServing, transport: GrpcTransport, told: str, seconds: float | None
    ) -> None:
        server.faults = [refuse("UNAVAILABLE", grpc_retry_pushback_ms=told)]
        assert failure(transport, request()).retry_after == seconds

    def test_an_answer_of_another_service_is_no_answer(
        self, server: TfServing, transport: GrpcTransport
    ) -> None:
        server.faults = [answer(b"<html>")]
        assert transport.call(request(), SECONDS).body == b"<html>"


class TestTime:
    def test_an_answer_that_does_not_come_in_time_is_not_waited_for(
        self, server: TfServing, transport: GrpcTransport
    ) -> None:
        server.faults = [wait_for(threading.Event())]
        failed = failure(transport, request(), timeout=0.2)
        assert (failed.action, failed.status, failed.overloaded) == (Action.RETRY, "DEADLINE_EXCEEDED", False)

    @pytest.mark.parametrize("seconds", [0, -1])
    def test_without_any_time_nothing_is_sent(
        self, server: TfServing, transport: GrpcTransport, seconds: float
    ) -> None:
        failed = failure(transport, request(), timeout=seconds)
        assert (failed.action, failed.status) == (Action.RETRY, "DEADLINE_EXCEEDED")
        assert not server.received


class TestConnections:
    def test_a_host_that_nobody_knows_may_be_known_later(self) -> None:
        with client("host.invalid:80") as transport:
            assert failure(transport, request()).action is Action.RETRY

    def test_a_server_that_starts_later_is_found(self) -> None:
        port = free_port()
        with client(f"127.0.0.1:{port}") as transport:
            failed = failure(transport, request())
            assert (failed.action, failed.status) == (Action.RETRY, "UNAVAILABLE")
            with tf_serving(MODELS, port=port):
                until(lambda: answers(transport))

    def test_a_server_that_was_gone_is_found_again(self) -> None:
        port = free_port()
        with client(f"127.0.0.1:{port}") as transport:
            for _ in range(2):
                with tf_serving(MODELS, port=port):
                    until(lambda: answers(transport))
                assert failure(transport, request()).action is Action.RETRY

    def test_a_connection_that_is_lost_in_mid_call_costs_one_try(self, server: TfServing) -> None:
        with relay_to(server.address) as relay, client(relay.address) as transport:
            server.faults = [act(relay.cut)]
            failed = failure(transport, request())
            assert (failed.action, failed.status) == (Action.RETRY, "UNAVAILABLE")
            until(lambda: answers(transport))
            assert relay.connections == 2

    def test_a_connection_that_is_closed_at_once_may_be_kept_later(self) -> None:
        with relay_to("127.0.0.1:1") as closed, client(closed.address) as transport:
            assert failure(transport, request()).action is Action.RETRY

    def test_closing_ends_what_is_under_way(self, server: TfServing) -> None:
        server.fault = wait_for(threading.Event())
        with client(server.address) as transport, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(transport.call, request(), SECONDS)
            until(lambda: bool(server.received))
            transport.close()
            with pytest.raises(CallFailed) as caught:
                waiting.result()
            assert caught.value.status == "CANCELLED"


def answers(transport: GrpcTransport) -> bool:
    try:
        return doubled(transport.call(request(), SECONDS))[0] == 2
    except CallFailed as failed:
        if failed.action is not Action.RETRY:
            raise
        return False


class TestSizes:
    """In both directions: a request that the client will not send or the server not take, and an answer."""

    def test_a_request_above_the_clients_limit_is_not_sent(
        self, server: TfServing, transport: GrpcTransport
    ) -> None:
        failed = failure(transport, request(x=b"x" * (MAX_REQUEST_BYTES + (1 << 17))))
        assert (failed.action, failed.status) == (Action.SPLIT, "RESOURCE_EXHAUSTED")
        assert not failed.overloaded
        assert not server.received

    def test_a_request_of_the_limit_is_sent(self, transport: GrpcTransport) -> None:
        wire = format_of("doubling")
        room = MAX_REQUEST_BYTES - wire.overhead({}) - wire.encode({"x": b""}).size
        failed = failure(transport, request(x=b"x" * room))
        assert failed.status == "INVALID_ARGUMENT"  # by the model, which takes numbers

    def test_a_request_above_the_servers_limit_is_split(self, server: TfServing) -> None:
        with client(server.address, max_request_bytes=8 << 20) as transport:
            failed = failure(transport, request(x=b"x" * (5 << 20)))
        assert (failed.action, failed.status) == (Action.SPLIT, "RESOURCE_EXHAUSTED")
        assert not server.received

    def test_an_answer_above_the_limit_is_not_read(self, server: TfServing, transport: GrpcTransport) -> None:
        server.faults = [answer(bytes(MAX_ANSWER_BYTES)), answer(bytes(MAX_ANSWER_BYTES + 1))]
        assert len(transport.call(request(), SECONDS).body) == MAX_ANSWER_BYTES
        failed = failure(transport, request())
        assert (failed.action, failed.status, failed.overloaded) == (Action.SPLIT, "answer size", False)

    def test_an_answer_that_is_large_only_once_it_is_unpacked_is_not_read(
        self, server: TfServing, transport: GrpcTransport
    ) -> None:
        server.faults = [compressed(bytes(1_000)), compressed(bytes(MAX_ANSWER_BYTES * 20))]
        assert len(transport.call(request(), SECONDS).body) == 1_000
        failed = failure(transport, request())
        assert (failed.action, failed.status) == (Action.SPLIT, "answer size")


def compressed(body: bytes) -> Any:
    def answer(context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return body

    return answer


class TestTls:
    CERTIFICATE = self_signed()

    @pytest.fixture(scope="class")
    def secure(self) -> Iterator[TfServing]:
        with tf_serving(MODELS, certificate=self.CERTIFICATE) as serving:
            yield serving

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_a_certificate_is_trusted_that_is_given(self, secure: TfServing, host: str) -> None:
        address = secure.address.replace("127.0.0.1", host)
        with client(address, scheme="grpcs", ca=self.CERTIFICATE.certificate.decode()) as transport:
            assert doubled(transport.call(request(), SECONDS)) == (2, "2")

    def test_another_is_not(self, secure: TfServing) -> None:
        for ca in (None, self_signed().certificate.decode()):
            with client(secure.address, scheme="grpcs", ca=ca) as transport:
                failed = failure(transport, request())
            assert (failed.action, failed.status, failed.overloaded) == (Action.GIVE_UP, "tls", False)
            assert "--endpoint_ca" in failed.message

    def test_nor_is_one_of_another_host(self) -> None:
        other = self_signed("other.example")
        with (
            tf_serving(MODELS, certificate=other) as server,
            client(server.address, scheme="grpcs", ca=other.certificate.decode()) as transport,
        ):
            failed = failure(transport, request())
        assert (failed.action, failed.status) == (Action.GIVE_UP, "tls")

    def test_a_server_without_tls_is_told(self, server: TfServing) -> None:
        with client(server.address, scheme="grpcs") as transport:
            failed = failure(transport, request())
        assert (failed.action, failed.status) == (Action.GIVE_UP, "tls")

    def test_a_server_with_tls_gives_a_client_without_it_no_answer(self, secure: TfServing) -> None:
        with client(secure.address) as transport:
            assert failure(transport, request()).status == "UNAVAILABLE"


def only(token: str) -> Any:
    """Refuse whoever has another token."""

    def check(context: Any) -> None:
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {token}":
            refuse("UNAUTHENTICATED", "who are you?")(context)

    return check


class TestCredentials:
    def test_they_go_along_as_metadata(self, server: TfServing) -> None:
        with client(server.address, Tokens(["secret"])) as transport:
            transport.call(request(), SECONDS)
        assert server.received[0].metadata["authorization"] == "Bearer secret"

    def test_they_are_renewed_once(self, server: TfServing) -> None:
        server.fault = only("new")
        with client(server.address, Tokens(["old", "new"])) as transport:
            assert doubled(transport.call(request(), SECONDS)) == (2, "2")
            assert len(server.received) == 2
            assert doubled(transport.call(request(), SECONDS)) == (2, "2")
            assert len(server.received) == 3

    @pytest.mark.parametrize(("tokens", "calls"), [([], 1), (["old"], 1), (["old", "older", "new"], 2)])
    def test_then_it_is_a_failure(self, server: TfServing, tokens: list[str], calls: int) -> None:
        server.fault = only("new")
        with client(server.address, Tokens(tokens)) as transport:
            failed = failure(transport, request())
        assert (failed.action, failed.status) == (Action.GIVE_UP, "UNAUTHENTICATED")
        assert len(server.received) == calls

    @pytest.mark.parametrize(
        ("name", "value"), [("Authorization", "sec\nret"), ("x-bin", "secret"), ("two words", "secret")]
    )
    def test_those_that_grpc_cannot_send_are_not_shown(
        self, server: TfServing, name: str, value: str
    ) -> None:
        class Unusual(Tokens):
            def headers(self) -> Mapping[str, str]:
                return {name: value}

        with client(server.address, Unusual()) as transport:
            failed = failure(transport, request())
        assert (failed.action, failed.status) == (Action.GIVE_UP, "credentials")
        assert "sec" not in failed.message
        assert not server.received
