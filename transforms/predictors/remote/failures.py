"""What each answer of a server means, as one table: for HTTP and for gRPC.

The table is data. The transports make their `CallFailed` of it, and docs/endpoints.md shows it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import orjson

from transforms.predictors.remote.wire import Action, CallFailed

HTTP_ACTIONS: Mapping[int, Action] = {
    **dict.fromkeys((408, 425, 429, 502, 503, 504), Action.RETRY),
    500: Action.RETRY_THEN_BISECT,
    413: Action.SPLIT,
    **dict.fromkeys((400, 409, 412, 422), Action.BISECT),
    **dict.fromkeys((401, 403, 404, 405, 406, 407, 410, 411, 414, 415, 421, 426, 431, 451), Action.GIVE_UP),
}
"""By HTTP's status."""

HTTP_DEFAULTS: Mapping[str, Action] = {"3xx": Action.GIVE_UP, "4xx": Action.BISECT, "5xx": Action.GIVE_UP}
"""For the statuses that are not listed, by their first digit; what is none of these is given up."""

HTTP_OVERLOADED = frozenset({429, 503})

GRPC_ACTIONS: Mapping[str, Action] = {
    **dict.fromkeys(
        ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED"), Action.RETRY
    ),
    **dict.fromkeys(("INTERNAL", "UNKNOWN", "DATA_LOSS"), Action.RETRY_THEN_BISECT),
    **dict.fromkeys(("INVALID_ARGUMENT", "OUT_OF_RANGE", "ALREADY_EXISTS"), Action.BISECT),
    **dict.fromkeys(
        (
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
            "NOT_FOUND",
            "UNIMPLEMENTED",
            "FAILED_PRECONDITION",  # TensorFlow Serving's for a signature that there is not
        ),
        Action.GIVE_UP,
    ),
}
"""By gRPC's code, unless its details say otherwise: see `GRPC_BY_DETAILS`."""

GRPC_DEFAULT = Action.GIVE_UP

GRPC_OVERLOADED = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})

GRPC_BY_DETAILS: Mapping[str, tuple[re.Pattern[str], str, Action]] = {
    "RESOURCE_EXHAUSTED": (
        re.compile(r"message\s+(length\s+)?(is\s+)?(larger|too\s+(large|big|long)|exceeds)", re.IGNORECASE),
        "by the size of a message",
        Action.SPLIT,
    ),
    "UNAVAILABLE": (
        re.compile(
            r"certificate|hostname verification|ssl_error_ssl|tsi_protocol_failure|security handshaker",
            re.IGNORECASE,
        ),
        "by TLS",
        Action.GIVE_UP,
    ),
}
"""Codes that mean something else where their details match, what that is, and what to do then."""

_NO_DETAILS = (re.compile(r"(?!)"), "", GRPC_DEFAULT)

MAX_WORDS = 300
"""How much of a server's own words a message has, in characters."""

_READ_FOR_WORDS = 1 << 16

_REMEDIES: Mapping[int | str, str] = {
    **dict.fromkeys((401, 403, "UNAUTHENTICATED", "PERMISSION_DENIED"), "check --endpoint_auth"),
    **dict.fromkeys(
        (404, 405, "NOT_FOUND", "UNIMPLEMENTED"),
        "check the address, the name of the model, its version and --endpoint_protocol",
    ),
    407: "the proxy wants a user and a password in HTTPS_PROXY",
    "tls": "check the address; pass the server's own certificate with --endpoint_ca FILE",
}

_EFFECTS: Mapping[Action, str] = {
    Action.RETRY: "is sent again, after a wait, until `--request_deadline`",
    Action.RETRY_THEN_BISECT: "is sent again a few times; then its halves are, to find the item to blame",
    Action.SPLIT: "its halves are sent; an item that is too large alone is a dead letter",
    Action.BISECT: "its halves are sent, to find the item to blame, which is a dead letter",
    Action.GIVE_UP: "is not sent again; where it was among the very first, the job stops",
}


def http_action(status: int) -> Action:
    """Return what to do about a status, listed or not."""
    return HTTP_ACTIONS.get(status) or HTTP_DEFAULTS.get(f"{status // 100}xx", Action.GIVE_UP)


def http_failure(status: int, headers: Mapping[str, str], body: bytes, now: float) -> CallFailed:
    """Make the failure of an HTTP answer that is no success.

    Args:
        status: Of the answer.
        headers: By their names.
        body: Its beginning, at least.
        now: In seconds since 1970, for a Retry-After that is a date.
    """
    found = {name.lower(): value for name, value in headers.items()}
    place = f" to {_place(found['location'])}" if 300 <= status < 400 and "location" in found else ""  # noqa: PLR2004
    return CallFailed(
        _message(f"HTTP {status}{_phrase(status)}{place}", server_words(body), _REMEDIES.get(status)),
        action=http_action(status),
        status=str(status),
        retry_after=_retry_after(found.get("retry-after", ""), now),
        overloaded=status in HTTP_OVERLOADED,
    )


def grpc_failure(code_name: str, details: str) -> CallFailed:
    """Make the failure of a gRPC call.

    Args:
        code_name: As gRPC writes it: `UNAVAILABLE`.
        details: The words that came with it.
    """
    status, action = code_name, GRPC_ACTIONS.get(code_name, GRPC_DEFAULT)
    pattern, _, special = GRPC_BY_DETAILS.get(code_name, _NO_DETAILS)
    is_special = pattern.search(details) is not None
    if is_special:
        status, action = ("tls" if special is Action.GIVE_UP else code_name), special
    return CallFailed(
        _message(code_name, _cut(details), _REMEDIES.get(status)),
        action=action,
        status=status,
        overloaded=code_name in GRPC_OVERLOADED and not is_special,
    )


def server_words(body: bytes) -> str:
    """Return what a server says in the body of an answer: its error, or the body's beginning; one line.

    Known are `{"error": "..."}` (TensorFlow Serving, KServe), `{"error": {"code", "message", "status"}}`
    (Google's APIs, also as the only element of a list), `{"detail": ...}` (FastAPI) and `{"message": "..."}`
    (gateways).
    """
    try:
        words = _error_in(orjson.loads(body)) if len(body) <= _READ_FOR_WORDS else None
    except orjson.JSONDecodeError:
        words = None
    return _cut(words or body[: 4 * MAX_WORDS].decode(errors="replace"))


def table_rows() -> list[str]:
    """Write the table in Markdown, a row for each thing that is done about a request."""
    rows = []
    for action in Action:
        http = [str(status) for status, listed in sorted(HTTP_ACTIONS.items()) if listed is action]
        http += [
            digits if digits == "3xx" else f"other {digits}"
            for digits, default in HTTP_DEFAULTS.items()
            if default is action
        ]
        grpc = [f"`{code}`" for code, listed in GRPC_ACTIONS.items() if listed is action]
        grpc += [f"`{code}` {why}" for code, (_, why, other) in GRPC_BY_DETAILS.items() if other is action]
        http += _without_status(action)
        rows.append(f"| {', '.join(http)} | {', '.join(grpc)} | {_EFFECTS[action]} |")
    return [
        "| HTTP | gRPC | the request |",
        "|---|---|---|",
        *rows,
    ]


def _without_status(action: Action) -> list[str]:
    """Return what the transport itself finds wrong, by what is done about it."""
    found = {
        Action.RETRY: ["no connection", "no answer in time"],
        Action.SPLIT: ["an answer above the limit"],
        Action.GIVE_UP: ["a failure of TLS"],
    }
    return found.get(action, [])


def _message(what: str, words: str, remedy: str | None) -> str:
    said = f"{what}: {words}" if words else what
    return f"{said} ({remedy})" if remedy else said


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _place(location: str) -> str:
    """Return where a redirect leads, without what may be a secret."""
    return _cut(re.sub(r"//[^/@]*@", "//", re.split(r"[?#]", location)[0]))


def _retry_after(value: str, now: float) -> float | None:
    """Read Retry-After (RFC 9110, section 10.2.3); None for what is neither seconds nor a date."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        seconds = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _error_in(answer: Any) -> str | None:
    if isinstance(answer, list) and len(answer) == 1:
        (answer,) = answer
    if not isinstance(answer, Mapping):
        return None
    for name in ("error", "detail", "message"):
        if answer.get(name):
            return _text(answer[name])
    return None


def _text(error: Any) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, Mapping) and isinstance(error.get("message"), str):
        status = error.get("status")
        return f"{status}: {error['message']}" if isinstance(status, str) else error["message"]
    return orjson.dumps(error).decode(errors="replace")


def _cut(text: str) -> str:
    """Return text as one line without control characters, which could change what a terminal shows."""
    line = " ".join(text[: 8 * MAX_WORDS].split())
    cut = line if len(line) <= MAX_WORDS else f"{line[:MAX_WORDS]}..."
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)
