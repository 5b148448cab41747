"""The address of a server."""

from __future__ import annotations

import socket

_WAITING = 128


def bind(host: str, port: int) -> socket.socket:
    """Take an address, without listening yet.

    Raises:
        OSError: It cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # what a server before has left does not bar
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def listen(bound: socket.socket) -> None:
    """Let clients come.

    Raises:
        OSError: Another listens there meanwhile.
    """
    bound.listen(_WAITING)


def url_of(listening: socket.socket) -> str:
    """Return the URL at which a socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
