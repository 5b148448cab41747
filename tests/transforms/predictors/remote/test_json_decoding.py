"""Reading answers of servers that may answer anything."""

from __future__ import annotations

import math
from typing import Any

import pytest

from transforms.predictors.remote.json_decoding import answer_failed, beginning, read_answer, read_json
from transforms.predictors.remote.wire import Action, CallFailed


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, "x", null, true]}', {"a": [1, 2.5, "x", None, True]}),
        (b" [] \n", []),
        (b"\xef\xbb\xbf[1]", [1]),
        (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'["\\ud83c\\udf88"]', ["🎈"]),
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
    ],
)
def test_json_and_what_servers_take_for_it(body: bytes, value: Any) -> None:
    assert read_json(body) == value


def test_a_number_that_is_none_is_read() -> None:
    (number,) = read_json(b"[NaN]")

    assert math.isnan(number)


def test_bytes_that_are_not_utf8_stay_in_their_string() -> None:
    value = read_json(b'["ok", "\xff\xfe", 0.5]')

    assert [value[0], value[1].encode(errors="surrogateescape"), value[2]] == ["ok", b"\xff\xfe", 0.5]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\x00",
        b"\x1f\x8b\x08",
        b'{"a": ',
        b"[1] [2]",
        b"nan",
        b"'a'",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
        b"[1,]",
    ],
)
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(body)


def test_an_answer_has_the_key_that_is_wanted() -> None:
    assert read_answer(b'{"predictions": [1]}', "predictions", "outputs") == {"predictions": [1]}
    assert read_answer(b'{"predictions": [1], "error": null}', "predictions")["predictions"] == [1]


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "input must be JPEG"}',
        b'{"error": {"code": 400, "message": "input must be JPEG"}}',
        b'{"error": "input must be JPEG", "predictions": []}',
    ],
)
def test_an_error_in_the_place_of_an_answer_may_be_an_items_fault(body: bytes) -> None:
    with pytest.raises(CallFailed, match="input must be JPEG") as raised:
        read_answer(body, "predictions")

    assert (raised.value.action, raised.value.status) == (Action.BISECT, "answer")
    with pytest.raises(CallFailed) as raised:
        read_answer(body, "predictions", error=Action.GIVE_UP)
    assert raised.value.action is Action.GIVE_UP


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is not JSON; it is empty"),
        (b"<html><body>It works!</body></html>", "is not JSON; it begins with <html><body>It works!"),
        (b"[1]", "is not an object with 'predictions' or 'outputs'; it begins with [1]"),
        (b'"text"', "is not an object"),
        (b"null", "is not an object"),
        (b"{}", "is not an object"),
        (b'{"prediction": []}', "is not an object"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_answer_helps_nobody(body: bytes, problem: str) -> None:
    with pytest.raises(CallFailed) as raised:
        read_answer(body, "predictions", "outputs")

    assert (raised.value.action, raised.value.status) == (Action.GIVE_UP, "answer")
    assert problem in raised.value.message
    assert len(raised.value.message) < 500


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"one\r\n\ttwo\0\x1b[31m", "one two [31m"),
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xd8", "\\xff\\xd8"),
        (b"x" * 1000, "x" * 300 + "..."),
        ("é".encode() * 1000, "é" * 300 + "..."),
        ("\u202e\u200babc".encode(), "abc"),
    ],
)
def test_a_servers_words_are_shown_on_one_line(body: bytes, shown: str) -> None:
    assert beginning(body) == shown
    assert shown in answer_failed("is odd", body, Action.SPLIT).message
