"""Calls over HTTP."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Mapping
from importlib import metadata

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from transforms.predictors.remote.bounded_http import Attempt, attempt
from transforms.predictors.remote.credentials import Credentials
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.failures import http_failure
from transforms.predictors.remote.http_errors import failure_of, is_stale, where
from transforms.predictors.remote.http_pools import open_pools, proxy_secrets
from transforms.predictors.remote.redaction import Redaction
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request

_PIECE_BYTES = 1 << 16
_ERROR_BYTES = 1 << 16  # of the answer of an error, of which only the beginning is shown
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class HttpTransport:
    """Sends requests over pooled connections; see `Transport`.

    Redirects are not followed, there are no cookies, and `.netrc` is not read. A proxy is taken from
    `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`, but not for the hosts of `NO_PROXY` and for this machine.

    Args:
        endpoint: Where the server is.
        credentials: What gives the headers that let in.
        connections: How many there are at most; who finds none free waits.
        max_answer_bytes: The most that is read of an answer.
        ca: The certificates that may have signed the server's, as PEM; None for those that the machine
            trusts.

    Raises:
        ValueError: `ca` has no certificate, or the environment's proxy is none that can be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        connections: int,
        max_answer_bytes: int,
        ca: str | None = None,
    ) -> None:
        self._credentials = credentials
        self._max_answer_bytes = max_answer_bytes
        self._pools = open_pools(endpoint, connections, ca)
        self._of_proxy = Redaction(proxy_secrets(self._pools))

    def call(self, request: Request, timeout: float) -> Reply:
        """See `Transport.call`."""
        deadline = time.monotonic() + timeout
        try:
            return self._call(request, deadline)
        except CallFailed as failed:
            if failed.status != "401" or not self._credentials.renew():
                raise
        return self._call(request, deadline)

    def redact(self, text: str) -> str:
        """See `Transport.redact`."""
        return self._of_proxy(self._credentials.redact(text))

    def close(self) -> None:
        """Close the connections; calls that are under way may fail."""
        self._pools.clear()

    def _call(self, request: Request, deadline: float) -> Reply:
        """Send a request over one connection, or over two.

        A server closes connections that are idle, and may do so at the moment when this end sends. That says
        nothing about the server, so the request goes out again at once, over another connection. The server
        may even have seen it; but a prediction changes nothing there, so that it may be asked for twice
        (RFC 9110, section 9.2.2).
        """
        headers = self._headers(request)
        for is_last in (False, True):
            with attempt(deadline) as current:
                try:
                    return self._exchange(request, headers, current)
                except (HTTPError, OSError, ValueError) as error:
                    if not is_last and is_stale(error, current):
                        continue
                    # Without its cause, whose text may have the whole URL or a header.
                    raise failure_of(error, request.target, current) from None
        raise AssertionError("the last attempt returns or raises")

    def _exchange(self, request: Request, headers: Mapping[str, str], current: Attempt) -> Reply:
        left = current.seconds_left()
        response = self._pools.urlopen(
            request.method,
            request.target,
            body=request.body if request.method == "POST" else None,
            headers=headers,
            timeout=left,
            pool_timeout=left,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
        )
        try:
            if current.has_end:  # before the end of the headers, which the library takes for all of them
                raise ConnectionResetError
            return self._read(response, request)
        finally:
            response.close()  # and its connection, unless that is in the pool again, since all was read
            response.release_conn()

    def _read(self, response: BaseHTTPResponse, request: Request) -> Reply:
        told = {name.lower(): value for name, value in response.headers.items()}
        encoding = told.get("content-encoding", "identity").strip().lower()
        if 200 <= response.status < 300:  # noqa: PLR2004
            if encoding not in ("", "identity"):
                raise _refused(
                    request, f"is compressed ({self.redact(encoding)}), which nobody has asked for"
                )
            return Reply(self._whole(response, request, told), told)
        body = _beginning(response) if encoding in ("", "identity") else b""
        shown = {name: self.redact(value) for name, value in told.items()}
        raise http_failure(
            response.status, shown, self.redact(body.decode(errors="replace")).encode(), time.time()
        )

    def _whole(self, response: BaseHTTPResponse, request: Request, told: Mapping[str, str]) -> bytes:
        most = self._max_answer_bytes
        length = told.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise _too_large(request, most)
        body = bytearray()
        while piece := response.read(_PIECE_BYTES):
            body += piece
            if len(body) > most:
                raise _too_large(request, most)
        return bytes(body)

    def _headers(self, request: Request) -> dict[str, str]:
        secret = self._credentials.headers()
        for name, value in secret.items():
            if not (_HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
                raise CallFailed(  # without the value, which an error of the library would show
                    f"HTTP cannot send the credentials: {name!r} or its value is not what a header may be",
                    action=Action.GIVE_UP,
                    status="credentials",
                )
        headers = {
            "User-Agent": user_agent(),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **({"Content-Type": request.content_type} if request.method == "POST" else {}),
        }
        return {**headers, **secret}


@functools.cache
def user_agent() -> str:
    """Return what this project calls itself: `beam-predict/VERSION`."""
    try:
        return f"beam-predict/{metadata.version('beam-predict')}"
    except metadata.PackageNotFoundError:  # on a worker that has only the modules
        return "beam-predict"


def _beginning(response: BaseHTTPResponse) -> bytes:
    """Read the beginning of an error's answer, or as much of it as comes."""
    body = bytearray()
    with contextlib.suppress(HTTPError, OSError):
        while len(body) <= _ERROR_BYTES and (piece := response.read(_PIECE_BYTES)):
            body += piece
    return bytes(body)


def _refused(request: Request, problem: str) -> CallFailed:
    return CallFailed(
        f"the answer of {where(request.target)} {problem}", action=Action.GIVE_UP, status="answer"
    )


def _too_large(request: Request, most: int) -> CallFailed:
    return CallFailed(
        f"the answer of {where(request.target)} is larger than the {most:,} bytes that are read of one",
        action=Action.SPLIT,
        status="answer size",
    )
