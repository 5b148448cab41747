"""Calls over gRPC."""

from __future__ import annotations

import functools
import re
import time
from typing import Any

import grpc  # type: ignore[import-untyped]

from transforms.predictors.remote.credentials import Credentials
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.failures import grpc_failure
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request

_SLACK = 64 << 10  # what a request may take beyond its limit, so that the sender's own arithmetic decides
_PUSHBACK = "grpc-retry-pushback-ms"
_MILLISECONDS = re.compile("[0-9]{1,12}")

_OPTIONS: tuple[tuple[str, int], ...] = (
    # Repeating is the caller's business, and so is what names say in the DNS about it.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # gRPC lets up to two minutes pass before it looks for a server again that was down.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A connection that was lost in silence is noticed while a call waits. Servers endure one such question in
    # five minutes, and two more: https://github.com/grpc/grpc/blob/master/doc/keepalive.md
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_TOO_LARGE_TO_READ = re.compile("CLIENT: Received message larger|Decompressed message larger")
"""What gRPC says of an answer; it says much the same of requests."""

_NAME = re.compile(r"[a-z0-9_.-]+(?<!-bin)")  # such a name's value is no text


class GrpcTransport:
    """Sends the messages of gRPC as they are; see `Transport`.

    One HTTP/2 connection carries all that is under way. It is opened by the first call, and again when it is
    lost. A transport is made by the process that uses it: it cannot be pickled, and gRPC does not promise
    that a forked process can go on with it. The variables of a proxy are those that gRPC reads, in lower case
    only: `grpc_proxy`, `https_proxy` and `http_proxy`, and `no_grpc_proxy` and `no_proxy` against them.

    Args:
        endpoint: Where the server is, and whether it is asked over TLS.
        credentials: What goes along as metadata.
        max_request_bytes: The most that is sent.
        max_answer_bytes: The most that is read.
        ca: The certificates that may have signed the server's, as PEM; None for those that gRPC brings along,
            or that `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` names.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        max_request_bytes: int,
        max_answer_bytes: int,
        ca: str | None = None,
    ) -> None:
        self._credentials = credentials
        limits = (
            ("grpc.max_send_message_length", max_request_bytes + _SLACK),
            ("grpc.max_receive_message_length", max_answer_bytes),
        )
        self._channel = _channel(endpoint, ca, (*_OPTIONS, *limits))
        self._method = functools.cache(self._channel.unary_unary)

    def call(self, request: Request, timeout: float) -> Reply:
        """See `Transport.call`."""
        deadline = time.monotonic() + timeout
        try:
            return self._send(request, deadline)
        except CallFailed as failed:
            if failed.status != "UNAUTHENTICATED" or not self._credentials.renew():
                raise
        return self._send(request, deadline)

    def redact(self, text: str) -> str:
        """See `Transport.redact`."""
        return self._credentials.redact(text)

    def close(self) -> None:
        """Close the connection; calls that are under way fail."""
        self._channel.close()

    def _send(self, request: Request, deadline: float) -> Reply:
        metadata = self._metadata()
        method = self._method(request.target)  # without serializers: bytes go, and bytes come
        seconds = deadline - time.monotonic()
        if seconds <= 0:  # for which gRPC may still send it
            raise grpc_failure("DEADLINE_EXCEEDED", "no time was left for the call")
        try:
            return Reply(method(request.body, timeout=seconds, metadata=metadata))
        except grpc.RpcError as error:
            # Without its cause, whose text has the server's words as they came.
            raise _failed(error, self.redact(error.details() or "")) from None

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        metadata = tuple((name.lower(), value) for name, value in self._credentials.headers().items())
        for name, value in metadata:
            if not (_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
                raise CallFailed(  # without the value, which gRPC's own error might show
                    f"gRPC cannot send the credentials: {name!r} or its value is not what metadata may be",
                    action=Action.GIVE_UP,
                    status="credentials",
                )
        return metadata


def _channel(endpoint: Endpoint, ca: str | None, options: tuple[tuple[str, int], ...]) -> Any:
    target = f"dns:///{endpoint.url}"  # or a host that is called `unix` would be a socket
    if not endpoint.secure:
        return grpc.insecure_channel(target, options)
    roots = None if ca is None else ca.encode()
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options)


def _failed(error: Any, details: str) -> CallFailed:
    failed = grpc_failure(error.code().name, details)
    failed.retry_after = _pushback(error)
    if failed.action is Action.SPLIT and _TOO_LARGE_TO_READ.search(details):
        failed.status = "answer size"
    return failed


def _pushback(error: Any) -> float | None:
    """Return the seconds that the server asks to wait.

    Source: https://github.com/grpc/proposal/blob/master/A6-client-retries.md.
    """
    told = dict(error.trailing_metadata() or ()).get(_PUSHBACK)
    if not isinstance(told, str) or not _MILLISECONDS.fullmatch(told):
        return None  # a negative one asks for nothing
    return int(told) / 1_000
