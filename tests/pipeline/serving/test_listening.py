"""The address of a server."""

from __future__ import annotations

import socket

import pytest

from pipeline.serving.listening import bind, listen, url_of


def test_it_is_taken_before_anybody_is_heard() -> None:
    with bind("127.0.0.1", 0) as ears:
        address = ears.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        listen(ears)
        socket.create_connection(address).close()
        assert url_of(ears) == f"http://127.0.0.1:{address[1]}"


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    try:
        ears = bind("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with ears:
        assert url_of(ears) == f"http://[::1]:{ears.getsockname()[1]}"


def test_an_address_of_another_machine_cannot_be_had() -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        bind("203.0.113.1", 0)
