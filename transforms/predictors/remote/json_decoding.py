"""Reading the JSON of servers that may answer anything: never wrong data, and never a crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from transforms.predictors.remote.wire import Action, CallFailed
from transforms.records import printable

MAX_SHOWN_CHARS = 300


def read_json(body: bytes) -> Any:
    """Read JSON, with NaN and the infinities, which TensorFlow Serving writes without quotes.

    Bytes that are not UTF-8 are kept in the strings that they are in, as Python keeps them in names of files:
    TensorFlow Serving writes an output of strings as it is, unless the output's name ends in `_bytes`.

    Raises:
        ValueError: It is none.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass  # which is strict; the other reader is slow, and tells the rest apart
    try:
        return json.loads(body.decode("utf-8-sig", "surrogateescape"))
    except RecursionError as error:
        raise ValueError("it has lists within lists, too deep to read") from error


def read_answer(body: bytes, *keys: str, error: Action = Action.BISECT) -> Mapping[str, Any]:
    """Read the answer to a request that has succeeded.

    Args:
        body: What has come.
        keys: An answer has one of these.
        error: What to do about one that tells of an error.

    Raises:
        CallFailed: It tells of an error, or is not an object with one of the keys (`GIVE_UP`).
    """
    try:
        answer = read_json(body)
    except ValueError as cause:
        raise answer_failed("is not JSON", body, Action.GIVE_UP) from cause
    if isinstance(answer, Mapping):
        has_key = any(key in answer for key in keys)
        if "error" in answer and (answer["error"] or not has_key):
            raise answer_failed("is an error", body, error)
        if has_key:
            return answer
    wanted = " or ".join(map(repr, keys))
    raise answer_failed(f"is not an object with {wanted}", body, Action.GIVE_UP)


def answer_failed(problem: str, body: bytes, action: Action) -> CallFailed:
    """Make the error of an answer that is of no use, with its beginning."""
    shown = f"it begins with {beginning(body)}" if body else "it is empty"
    return CallFailed(f"the endpoint's answer {problem}; {shown}", action=action, status="answer")


def beginning(body: bytes) -> str:
    """Return the beginning of what a server has said, on one line and printable."""
    text = body[: 4 * MAX_SHOWN_CHARS].decode(errors="backslashreplace")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return printable(line if len(line) <= MAX_SHOWN_CHARS else f"{line[:MAX_SHOWN_CHARS]}...")
