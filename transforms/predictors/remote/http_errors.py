"""What the errors of urllib3, of TLS and of sockets mean, as failures of a call.

    the error                                               action      status
    ──────────────────────────────────────────────────────  ──────────  ───────────
    the time is over, wherever                              RETRY       timeout
    no connection: refused, no such name, a proxy is down   RETRY       connection
    a connection that was closed or reset                   RETRY       connection
    TLS: a certificate, a protocol, a port without TLS      GIVE_UP     tls
    a proxy that refuses to connect                         by status   proxy
    bytes that are no HTTP                                  GIVE_UP     answer
    a request that cannot be written as HTTP                GIVE_UP     request

No message has the text of an error that may show a header or a URL.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from urllib3 import exceptions

from transforms.predictors.remote.bounded_http import Attempt
from transforms.predictors.remote.failures import http_action
from transforms.predictors.remote.wire import Action, CallFailed

_PORTS = {"http": 80, "https": 443}

_UNTRUSTED = (
    "is signed by an authority that this machine does not trust; pass the authority's with --endpoint_ca FILE"
)
_OTHER_NAME = "is for another name; write that name into the address"
_CERTIFICATES = {
    9: "is not valid yet; look at the clocks of both machines",
    10: "has expired; the server needs a new one",
    18: "is signed by itself; if it is the right one, pass it with --endpoint_ca FILE",
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
"""By OpenSSL's codes: `X509_V_ERR_*` in openssl/x509_vfy.h."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_TIMEOUTS = (TimeoutError, exceptions.ReadTimeoutError, exceptions.EmptyPoolError)

_NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
}
_CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_DAMAGED = {
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    "SSLV3_ALERT_BAD_RECORD_MAC",
    "UNEXPECTED_EOF_WHILE_READING",
}


def where(url: str) -> str:
    """Return `host:port` of a URL."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or _PORTS.get(parts.scheme, '')}"


def is_stale(error: Exception, attempt: Attempt) -> bool:
    """Tell whether only the connection is to blame: the server has closed it while it was idle."""
    causes = list(made_of(error))
    is_over = any(isinstance(cause, TimeoutError) for cause in causes)
    is_closed = any(isinstance(cause, (ConnectionError, *_CUT_OFF)) for cause in causes)
    return attempt.is_reused and not attempt.has_answer and is_closed and not is_over


def failure_of(error: Exception, url: str, attempt: Attempt) -> CallFailed:
    """Make the failure of an error.

    Args:
        error: What was raised.
        url: What was asked for; only its host and port are told.
        attempt: How far it had come.
    """
    place, causes = where(url), list(made_of(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls_failure(cause, place)
        if isinstance(cause, OSError) and (refusal := _TUNNEL.search(str(cause))):
            return _proxy_refusal(int(refusal[1]), place)
    if any(isinstance(cause, _TIMEOUTS) for cause in causes):
        return _timeout(place, attempt)
    return _by_kind(error, causes, place, attempt, url.startswith("http:"))


def _by_kind(
    error: Exception, causes: list[BaseException], place: str, attempt: Attempt, is_plain: bool
) -> CallFailed:
    via = "the proxy of " if any(isinstance(cause, exceptions.ProxyError) for cause in causes) else ""
    if any(isinstance(cause, exceptions.NameResolutionError) for cause in causes):
        return _lost(f"the name of {via}{place} is not known; check the address")
    if any(isinstance(cause, exceptions.NewConnectionError) for cause in causes):
        return _lost(f"{via}{place} cannot be reached: {_reason(causes)}")
    for cause in causes:
        if isinstance(cause, (ConnectionError, http.client.IncompleteRead)):
            hint = " (as a port of https:// does)" if is_plain and not attempt.has_answer else ""
            return _lost(f"{place} has closed the connection while this end was {attempt.doing}{hint}")
    if isinstance(error, ValueError):
        return CallFailed(  # without its text, which may be a header's value
            f"the request to {place} cannot be written: its address or a header has what HTTP does not allow",
            action=Action.GIVE_UP,
            status="request",
        )
    if any(isinstance(cause, (http.client.HTTPException, exceptions.InvalidHeader)) for cause in causes):
        return CallFailed(
            f"{place} answers with what is no HTTP; if it speaks TLS, the address begins with https://",
            action=Action.GIVE_UP,
            status="answer",
        )
    return _lost(f"the connection to {place} failed while this end was {attempt.doing}: {_reason(causes)}")


def _timeout(place: str, attempt: Attempt) -> CallFailed:
    seconds = time.monotonic() - attempt.began
    return CallFailed(
        f"no answer of {place} in time: after {seconds:.3g} s this end was still {attempt.doing}",
        action=Action.RETRY,
        status="timeout",
    )


def _lost(message: str) -> CallFailed:
    return CallFailed(message, action=Action.RETRY, status="connection")


def _proxy_refusal(status: int, place: str) -> CallFailed:
    remedy = (
        "; it wants a user and a password in HTTPS_PROXY"
        if status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        else ""
    )
    return CallFailed(
        f"the proxy refuses to connect to {place}: HTTP {status}{remedy}",
        action=http_action(status),
        status="proxy",
    )


def _tls_failure(error: ssl.SSLError, place: str) -> CallFailed:
    reason = error.reason or ""
    if isinstance(error, _CUT_OFF) or reason in _DAMAGED:
        return _lost(f"the encrypted connection to {place} was cut off")
    if isinstance(error, ssl.SSLCertVerificationError):
        problem = _CERTIFICATES.get(
            error.verify_code, f"is not valid: {error.verify_message}; see --endpoint_ca"
        )
        text = f"TLS: the certificate of {place} {problem}"
    elif reason in _NO_TLS:
        text = f"TLS: {place} does not speak it; if that is right, the address begins with http://"
    else:
        text = f"TLS: {place} and this machine find no way to encrypt: {reason.replace('_', ' ').lower()}"
    return CallFailed(text, action=Action.GIVE_UP, status="tls")


def _reason(causes: list[BaseException]) -> str:
    """Return the operating system's words."""
    words = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return words[-1] if words else type(causes[0]).__name__


def made_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made of, which urllib3 keeps as arguments and as causes."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [*one.args, one.__cause__]
