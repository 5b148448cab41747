"""Calls over HTTPS: whose certificates are taken, and what is said of the others."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators import rest_faults
from emulators.certificates import Certificate, self_signed
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
from transforms.predictors.remote.wire import Action, Request

OWN = self_signed()
OWN_CA = OWN.certificate.decode()


@contextlib.contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Hand the only connection to a function; yield the address, without a scheme."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def tls_of(certificate: Certificate, folder: Path) -> ssl.SSLContext:
    chain = folder / "chain.pem"
    chain.write_bytes(certificate.certificate + certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def test_a_certificate_of_ones_own_is_taken_where_it_is_given() -> None:
    with summing_server(certificate=OWN) as server:
        with client(server.address, ca=OWN_CA) as transport:
            for _ in range(3):
                assert predictions(transport.call(request_to(server.address), SECONDS).body) == [3.0]
        assert server.connections == 1


def test_one_of_several_certificates_is_enough() -> None:
    with summing_server(certificate=OWN) as server:
        assert ask(server, ca=self_signed("other").certificate.decode() + OWN_CA) == [3.0]


@pytest.mark.parametrize(
    ("certificate", "ca", "words"),
    [
        (OWN, None, ("signed by itself", "--endpoint_ca FILE")),
        (OWN, self_signed().certificate.decode(), ("signed by itself", "--endpoint_ca FILE")),
        (self_signed("model.example"), "its own", ("for another name", "address")),
        (self_signed(valid_for=-datetime.timedelta(hours=1)), "its own", ("expired",)),
    ],
    ids=["self-signed", "another's", "another name", "expired"],
)
def test_a_certificate_that_cannot_be_trusted_is_given_up(
    certificate: Certificate, ca: str | None, words: tuple[str, ...]
) -> None:
    own = certificate.certificate.decode()
    with summing_server(certificate=certificate) as server:
        failed = failure_at(
            server.address, ca=own if ca == "its own" else ca, credentials=Tokens(["secret-token"])
        )
        assert server.received == []
    assert (failed.action, failed.status) == (Action.GIVE_UP, "tls")
    assert server.address.removeprefix("https://") in failed.message
    assert all(word in failed.message for word in words)


def test_https_to_a_port_without_tls_is_given_up() -> None:
    with summing_server() as server:
        failed = failure_at(server.address.replace("http:", "https:"))
    assert (failed.action, failed.status) == (Action.GIVE_UP, "tls")
    assert "begins with http://" in failed.message


def test_http_to_a_port_of_tls_that_says_so_is_given_up() -> None:
    def alert(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(bytes.fromhex("15030100020246"))  # protocol_version, as OpenSSL writes it
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1 << 16)

    with tcp_server(alert) as place:
        failed = failure_at(f"http://{place}")
    assert (failed.action, failed.status) == (Action.GIVE_UP, "answer")
    assert "begins with https://" in failed.message


def test_http_to_a_port_of_tls_that_only_closes_has_a_hint() -> None:
    with summing_server(certificate=OWN) as server:
        failed = failure_at(server.address.replace("https:", "http:"))
        assert server.received == []
    assert failed.action in {Action.RETRY, Action.GIVE_UP}
    assert "https://" in failed.message


def test_a_server_that_finds_no_way_to_encrypt_is_given_up() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(bytes.fromhex("15030300020228"))  # handshake_failure
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1 << 16)

    with tcp_server(refuse) as place:
        failed = failure_at(f"https://{place}", ca=OWN_CA)
    assert (failed.action, failed.status) == (Action.GIVE_UP, "tls")
    assert "handshake failure" in failed.message


def test_a_server_that_wants_the_clients_certificate_is_given_up(tmp_path: Path) -> None:
    context = tls_of(OWN, tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=OWN_CA)

    def serve(connection: socket.socket) -> None:
        with (
            connection.dup() as kept
        ):  # what is closed with bytes unread is reset, and its last words are lost
            with contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).recv(1)
            while kept.recv(1 << 16):
                pass

    with tcp_server(serve) as place:
        failed = failure_at(f"https://{place}", ca=OWN_CA)
    assert (failed.action, failed.status) == (Action.GIVE_UP, "tls")
    assert "certificate required" in failed.message


@pytest.mark.parametrize("reset", [False, True])
def test_a_handshake_that_is_cut_off_is_tried_again(reset: bool) -> None:
    def cut(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with tcp_server(cut) as place:
        failed = failure_at(f"https://{place}", ca=OWN_CA)
    assert (failed.action, failed.status) == (Action.RETRY, "connection")


@pytest.mark.parametrize(
    "fault", [rest_faults.close(), rest_faults.close_in_head(), rest_faults.close_in_answer()]
)
def test_an_encrypted_connection_that_is_lost_is_tried_again(fault: rest_faults.Fault) -> None:
    with summing_server(certificate=OWN) as server:
        server.fault = fault
        failed = failure_at(server.address, ca=OWN_CA)
    assert (failed.action, failed.status) == (Action.RETRY, "connection")


def test_an_old_encrypted_connection_that_was_closed_is_no_failure() -> None:
    with summing_server(certificate=OWN) as server:
        server.faults = [None, rest_faults.close()]
        with client(server.address, ca=OWN_CA) as transport:
            for _ in range(2):
                assert predictions(transport.call(request_to(server.address), SECONDS).body) == [3.0]
        assert server.requests == 3


def test_an_encrypted_answer_that_trickles_ends_with_the_time() -> None:
    with summing_server(certificate=OWN) as server:
        server.fault = rest_faults.trickle(0.02, head=True)
        assert failure_at(server.address, 0.3, ca=OWN_CA).status == "timeout"


def test_a_server_that_reads_slowly_is_given_its_time(tmp_path: Path) -> None:
    context, stop = tls_of(OWN, tmp_path), threading.Event()

    def serve(connection: socket.socket) -> None:
        encrypted = context.wrap_socket(connection, server_side=True)
        while not stop.wait(0.02):
            encrypted.recv(1000)

    with tcp_server(serve) as place:
        with client(f"https://{place}", ca=OWN_CA) as transport:
            failed = failure(transport, Request(f"https://{place}{PATH}:predict", b"x" * (64 << 20)), 0.5)
        stop.set()
    assert (failed.action, failed.status) == (Action.RETRY, "timeout")
    assert "sending the request" in failed.message


@pytest.mark.parametrize(
    "ca", ["", "  \n", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_file_without_certificates_is_refused(ca: str) -> None:
    with (
        pytest.raises(ValueError, match="--endpoint_ca must have certificates as PEM"),
        client("https://h", ca=ca),
    ):
        pass
