"""A connection that can be lost: what passes bytes on to a server, until it is told to cut."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

_RESET = struct.pack("ii", 1, 0)  # close at once, and tell the other end so
_CHUNK = 64 << 10


class Relay:
    """Passes on what comes to its own port of 127.0.0.1.

    Attributes:
        address: `127.0.0.1:PORT`.
        connections: How many there have been.
    """

    def __init__(self, listener: socket.socket, server: str) -> None:
        host, _, port = server.rpartition(":")
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.connections = 0
        self._listener = listener
        self._server = (host, int(port))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def cut(self) -> None:
        """Reset all connections."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RD)  # wakes who reads from it
            end.close()

    def accept(self) -> None:
        """Pass on what comes, until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(self._server)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                target.sendall(chunk)
        for end in (source, target):
            with self._lock:
                self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes who reads from it, which closing does not
            end.close()


@contextlib.contextmanager
def relay_to(server: str) -> Iterator[Relay]:
    """Run a relay until the end of the context.

    Args:
        server: `HOST:PORT`, which need not listen yet.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener, server)
        acceptor = threading.Thread(target=relay.accept, daemon=True)
        acceptor.start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            acceptor.join()
            relay.cut()
