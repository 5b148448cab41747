"""The table of failures: what each answer means, and what its message says."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from email.utils import format_datetime

import pytest

from transforms.predictors.remote.failures import (
    GRPC_ACTIONS,
    HTTP_ACTIONS,
    MAX_WORDS,
    grpc_failure,
    http_action,
    http_failure,
    server_words,
    table_rows,
)
from transforms.predictors.remote.wire import Action, CallFailed

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc).timestamp()

ISSUE = {
    Action.RETRY: (408, 425, 429, 502, 503, 504),
    Action.RETRY_THEN_BISECT: (500,),
    Action.SPLIT: (413,),
    Action.BISECT: (400, 402, 409, 412, 418, 422, 424, 428, 499),
    Action.GIVE_UP: (
        *(101, 301, 302, 303, 307, 308, 399),
        *(401, 403, 404, 405, 406, 407, 410, 411, 414, 415, 421, 426, 431, 451),
        *(501, 505, 511, 599, 600, 999),
    ),
}


def http(status: int, body: bytes = b"", **headers: str) -> CallFailed:
    return http_failure(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, NOW)


@pytest.mark.parametrize(
    ("status", "action"), [(status, action) for action, statuses in ISSUE.items() for status in statuses]
)
def test_each_http_status_has_its_action(status: int, action: Action) -> None:
    failed = http(status)
    assert (failed.action, failed.status) == (action, str(status))
    assert failed.message.startswith(f"HTTP {status}")
    assert failed.overloaded is (status in {429, 503})


def test_no_listed_status_is_left_untried() -> None:
    assert set(HTTP_ACTIONS) <= {status for statuses in ISSUE.values() for status in statuses}
    assert all(http_action(status) is action for status, action in HTTP_ACTIONS.items())


@pytest.mark.parametrize(
    ("code", "action", "overloaded"),
    [
        ("UNAVAILABLE", Action.RETRY, True),
        ("RESOURCE_EXHAUSTED", Action.RETRY, True),
        ("DEADLINE_EXCEEDED", Action.RETRY, False),
        ("ABORTED", Action.RETRY, False),
        ("CANCELLED", Action.RETRY, False),
        ("INTERNAL", Action.RETRY_THEN_BISECT, False),
        ("UNKNOWN", Action.RETRY_THEN_BISECT, False),
        ("DATA_LOSS", Action.RETRY_THEN_BISECT, False),
        ("INVALID_ARGUMENT", Action.BISECT, False),
        ("FAILED_PRECONDITION", Action.GIVE_UP, False),
        ("OUT_OF_RANGE", Action.BISECT, False),
        ("ALREADY_EXISTS", Action.BISECT, False),
        ("UNAUTHENTICATED", Action.GIVE_UP, False),
        ("PERMISSION_DENIED", Action.GIVE_UP, False),
        ("NOT_FOUND", Action.GIVE_UP, False),
        ("UNIMPLEMENTED", Action.GIVE_UP, False),
    ],
)
def test_each_grpc_code_has_its_action(code: str, action: Action, overloaded: bool) -> None:
    failed = grpc_failure(code, "busy")
    assert (failed.action, failed.status, failed.overloaded) == (action, code, overloaded)
    assert failed.message.startswith(f"{code}: busy")


def test_every_grpc_code_is_listed() -> None:
    from grpc import StatusCode

    assert set(GRPC_ACTIONS) == {code.name for code in StatusCode} - {"OK"}
    assert grpc_failure("SOMETHING", "").action is Action.GIVE_UP


@pytest.mark.parametrize(
    "details",
    [
        "Received message larger than max (5000000 vs. 4194304)",
        "CLIENT: Sent message larger than max (5000000 vs. 4194304)",
        "grpc: received message larger than max (5 vs. 4)",
        "gRPC message exceeds maximum size 4194304: 5000000",
        "Error, message length too large: found 5 bytes, the limit is: 4 bytes",
    ],
)
def test_exhausted_by_the_size_of_a_message_is_split(details: str) -> None:
    failed = grpc_failure("RESOURCE_EXHAUSTED", details)
    assert (failed.action, failed.status, failed.overloaded) == (Action.SPLIT, "RESOURCE_EXHAUSTED", False)


def test_exhausted_by_a_quota_is_overload() -> None:
    failed = grpc_failure("RESOURCE_EXHAUSTED", "Quota exceeds the maximum of 600 requests per minute")
    assert (failed.action, failed.overloaded) == (Action.RETRY, True)


@pytest.mark.parametrize(
    "details",
    [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Ssl handshake failed "
        "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:0A000086: certificate verify failed",
        "Hostname Verification Check failed.",
        "SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER",
    ],
)
def test_unavailable_because_of_tls_is_given_up(details: str) -> None:
    failed = grpc_failure("UNAVAILABLE", details)
    assert (failed.action, failed.status, failed.overloaded) == (Action.GIVE_UP, "tls", False)
    assert "--endpoint_ca" in failed.message


def test_a_handshake_that_was_cut_off_is_tried_again() -> None:
    assert (
        grpc_failure("UNAVAILABLE", "Ssl handshake failed: Connection reset by peer").action is Action.RETRY
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("10000", 10_000.0),
        (format_datetime(datetime(2026, 3, 1, 12, 0, 30, tzinfo=timezone.utc), usegmt=True), 30.0),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30.0),  # the older forms of RFC 9110, which must be understood
        ("Sun Mar  1 12:00:30 2026", 30.0),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30.0),
        ("Sat, 28 Feb 2026 12:00:00 GMT", 0.0),
        ("-5", None),
        ("10,000", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("²", None),
        ("9" * 5_000, None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
        ("Sun, 01 Mar 999999999999 12:00:30 GMT", None),
        ("\x00, \n", None),
    ],
)
def test_retry_after_is_read_with_care(value: str, seconds: float | None) -> None:
    assert http(503, Retry_After=value).retry_after == seconds
    assert http(503).retry_after is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "Servable not found for request: Latest(m)"}, "Servable not found for request: Latest(m)"),
        (
            {"error": {"code": 400, "message": "Bad instance", "status": "INVALID_ARGUMENT"}},
            "INVALID_ARGUMENT: Bad instance",
        ),
        ([{"error": {"code": 400, "message": "Bad instance"}}], "Bad instance"),
        ({"detail": "Not Found"}, "Not Found"),
        (
            {"detail": [{"loc": ["body"], "msg": "field required"}]},
            '[{"loc":["body"],"msg":"field required"}]',
        ),
        ({"message": "no healthy upstream"}, "no healthy upstream"),
        ({"error": {"code": 7}}, '{"code":7}'),
        ({"error": "", "detail": "said here"}, "said here"),
        ({"else": 1}, '{"else": 1}'),
        ([], "[]"),
    ],
)
def test_the_servers_own_words_are_taken_out_of_known_shapes(body: object, words: str) -> None:
    assert server_words(json.dumps(body).encode()) == words
    assert http(400, json.dumps(body).encode()).message == f"HTTP 400 Bad Request: {words}"


def test_a_body_of_another_kind_is_shown_by_its_beginning() -> None:
    page = b"<html>\r\n  <title>502 Bad   Gateway</title>" + b"x" * 1_000_000
    words = server_words(page)
    assert words.startswith("<html> <title>502 Bad Gateway</title>xxx")
    assert len(words) == MAX_WORDS + len("...")
    assert server_words(b"") == ""
    assert http(502).message == "HTTP 502 Bad Gateway"


def test_a_long_message_is_cut() -> None:
    assert len(server_words(json.dumps({"error": "x " * 10_000}).encode())) <= MAX_WORDS + len("...")
    assert len(grpc_failure("INTERNAL", "x" * 100_000).message) < MAX_WORDS + 50


def test_words_that_could_change_a_terminal_are_made_harmless() -> None:
    for body in (b"\x1b[2Jgone\x00\xff", json.dumps({"error": "\x1b[2Jgone\u202e\x07"}).encode()):
        assert server_words(body).isprintable()
        assert "gone" in server_words(body)


def test_deeply_nested_json_is_only_a_beginning() -> None:
    assert server_words(b'{"error":' * 5_000).startswith('{"error":{"error"')


def test_a_redirect_tells_where_without_secrets() -> None:
    failed = http(302, Location="https://me:secret@login.example/start?token=secret#secret")
    assert "to https://login.example/start" in failed.message
    assert "secret" not in failed.message


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "--endpoint_auth"), (403, "--endpoint_auth"), (404, "version")]
)
def test_what_is_given_up_has_a_remedy(status: int, remedy: str) -> None:
    assert remedy in http(status).message


def test_the_table_for_the_docs_has_every_listed_answer_once() -> None:
    rows = table_rows()
    assert len(rows) == 2 + len(Action)
    assert all(row.count("|") == 4 for row in rows)
    text = "\n".join(rows)
    assert all(text.count(str(status)) == 1 for status in HTTP_ACTIONS)
    assert all(text.count(f"`{code}`") >= 1 for code in GRPC_ACTIONS)
    assert "`UNAVAILABLE` by TLS" in rows[-1]
