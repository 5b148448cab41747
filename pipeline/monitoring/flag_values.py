"""What the flags of `python -m pipeline.monitoring` take."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from urllib.parse import urlsplit

_NOT_IN_RE2 = re.compile(r"\(\?<?[=!]|\\[1-9]")
"""What Python's expressions have, and those of Cloud Monitoring have not."""

_SUBSCRIPTION = re.compile(r"projects/[^/]+/subscriptions/([^/]+)")


def names(text: str) -> str:
    """Take a regular expression for names.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        re.compile(text)
    except re.error as error:
        raise ArgumentTypeError(
            f"must be a regular expression, such as 'photos-.*'; {text!r} is none: {error}"
        ) from error
    if not text:
        raise ArgumentTypeError("must not be empty, or nothing matches; all are '.*'")
    if _NOT_IN_RE2.search(text):
        raise ArgumentTypeError(
            f"must be a regular expression of RE2, without (?=...), (?!...) and \\1; got {text!r}"
        )
    return text


def subscription_ids(text: str) -> str:
    """Take a regular expression for ids of subscriptions, or the name of one, whose id is taken.

    Raises:
        ArgumentTypeError: It is neither.
    """
    name = _SUBSCRIPTION.fullmatch(text)
    pattern = name[1] if name else text
    if "/" in pattern:
        raise ArgumentTypeError(
            f"must match ids, which have no /, or be projects/PROJECT/subscriptions/ID; got {text!r}"
        )
    return names(pattern)


def address(text: str) -> str:
    """Take the address of a page.

    Raises:
        ArgumentTypeError: It is none that a browser opens from a notification.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ArgumentTypeError(
            f"must be an address, such as https://example.com/docs/runbook.md; got {text!r}"
        )
    return text
