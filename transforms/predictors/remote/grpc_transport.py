"""Calls over gRPC."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import grpc  # type: ignore[import-untyped]

from transforms.predictors.remote.credentials import Credentials
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.failures import grpc_failure
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request

_SLACK = 64 << 10  # what a request may take beyond its limit, so that the sender's own arithmetic decides
_PUSHBACK = "grpc-retry-pushback-ms"

_OPTIONS: tuple[tuple[str, int], ...] = (
    # Repeating is the caller's business, and so is what names say in the DNS about it.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # gRPC lets up to two minutes pass before it looks for a server again that was down.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A connection that was lost in silence is noticed while a call waits. Servers endure one such question in five
    # minutes, and two more: https://github.com/grpc/grpc/blob/master/doc/keepalive.md
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The limit of an answer's size is for what comes over the wire: no few bytes may stand for many.
    ("grpc.compression_enabled_algorithms_bitset", 1),
)

_Call = Callable[..., tuple[bytes, Any]]


class GrpcTransport:
    """Sends the messages of gRPC as they are; see `Transport`.

    One HTTP/2 connection carries all that is under way. It is opened by the first call, and again when it is lost.
    The transport belongs to the process that made it: it cannot be pickled, and is of no use in a forked process.
    gRPC takes a proxy from `grpc_proxy`, `https_proxy` and `http_proxy`, and exceptions from `no_proxy`, all in
    lower case.

    Args:
        endpoint: Where the server is, and whether it is asked over TLS.
        credentials: What goes along as metadata.
        max_request_bytes: The most that is sent.
        max_answer_bytes: The most that is read.
        ca: The certificates that may have signed the server's, as PEM; None for those that gRPC brings along, or that
            `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` names.
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

    def close(self) -> None:
        """Close the connection; calls that are under way fail."""
        self._channel.close()

    def _send(self, request: Request, deadline: float) -> Reply:
        metadata = self._metadata()
        method: _Call = self._method(
            request.target
        ).with_call  # without serializers: bytes go, and bytes come
        try:
            body, call = method(request.body, timeout=max(deadline - time.monotonic(), 0), metadata=metadata)
        except grpc.RpcError as error:
            raise _failed(error) from error
        return Reply(body, {key: value for key, value in call.trailing_metadata() if isinstance(value, str)})

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        metadata = tuple((name.lower(), value) for name, value in self._credentials.headers().items())
        for name, value in metadata:
            if not (value.isascii() and value.isprintable()):  # gRPC's own error would show the value
                raise CallFailed(
                    f"the credentials cannot be sent: the value of {name!r} is not printable ASCII",
                    action=Action.GIVE_UP,
                    status="credentials",
                )
        return metadata


def _channel(endpoint: Endpoint, ca: str | None, options: tuple[tuple[str, int], ...]) -> Any:
    if not endpoint.secure:
        return grpc.insecure_channel(endpoint.url, options)
    roots = None if ca is None else ca.encode()
    return grpc.secure_channel(endpoint.url, grpc.ssl_channel_credentials(roots), options)


def _failed(error: Any) -> CallFailed:
    failed = grpc_failure(error.code().name, error.details() or "")
    pushback = _pushback(error)
    if pushback is not None:
        failed.retry_after = pushback
    return failed


def _pushback(error: Any) -> float | None:
    """Return the seconds that the server asks to wait: https://github.com/grpc/proposal/blob/master/A6-client-retries.md."""
    told = dict(error.trailing_metadata() or ()).get(_PUSHBACK)
    return (
        int(told) / 1_000 if isinstance(told, str) and told.isdecimal() else None
    )  # a negative one: do not ask
