"""The server of an application: on one address, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from types import FrameType

import uvicorn

from pipeline.serving.gate import Gate

MAX_CONNECTIONS = 1_000

_TICK_SECONDS = 0.02
_SECONDS_TO_CLOSE = 1


class HttpServer(uvicorn.Server):
    """Serves until it is told to stop, and ends when what is running is answered.

    Told by Ctrl-C or SIGTERM: then new requests get status 503. The second time it ends at once.

    Args:
        gate: The application.
        ready: What is printed when it can be asked.
        drain_seconds: How long the requests that are running may take to end.
        access_log: Whether each request is logged.
    """

    def __init__(self, gate: Gate, ready: str, drain_seconds: float, access_log: bool = False) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # strangers send what is no HTTP
        if access_log:
            logging.getLogger("uvicorn.access").setLevel(logging.INFO)
        super().__init__(
            uvicorn.Config(
                gate,
                access_log=access_log,
                lifespan="off",
                limit_concurrency=MAX_CONNECTIONS,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_SECONDS_TO_CLOSE,
                timeout_keep_alive=65,  # longer than the proxies before it wait
                ws="none",
            )
        )
        self._gate = gate
        self._ready = ready
        self._drain_seconds = drain_seconds
        self.failure: str | None = None
        """Why it has stopped by itself."""
        self.unanswered = 0
        """How many requests it has left without an answer."""

    def give_up(self, reason: str) -> None:
        """Stop, because no request can be answered."""
        self.failure = self.failure or reason
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.startup`."""
        await super().startup(sockets)
        print(self._ready, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for what is running, with the ears open, and close."""
        self._gate.stopping = True
        deadline = time.monotonic() + self._drain_seconds
        while self._gate.running and not self.force_exit and time.monotonic() < deadline:
            await asyncio.sleep(_TICK_SECONDS)
        self.unanswered = self._gate.running
        for task in self.server_state.tasks if self.unanswered else ():
            task.cancel()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server.handle_exit`, which would have the process end by the signal in the end."""
        self.force_exit = self.should_exit
        self.should_exit = True
