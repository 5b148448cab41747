"""Taking secrets out of what a server says: it may repeat the request, headers and all."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import quote

Redact = Callable[[str], str]
"""Returns a text without the secrets in it."""

_MASK = "***"
_CUT = "..."
_PART = 8  # what is shorter would be found in many words
_SHORTEST_REST = 4

_WRITTEN: tuple[Redact, ...] = (
    str,
    lambda value: json.dumps(value)[1:-1],
    lambda value: json.dumps(value)[1:-1].replace("/", r"\/"),
    lambda value: repr(value)[1:-1],
    html.escape,
    quote,
    lambda value: quote(value, safe=""),
)
"""How a server may write what it was sent."""

_Error = TypeVar("_Error", bound=Exception)


class Redaction:
    """Masks secrets: as a whole, whatever their length, also without their scheme; and their parts.

    A part is any 8 characters or more that stand together in a secret, for servers shorten what they repeat.
    Where a text is cut off, as `...` tells, what is left of a secret is masked from 4 characters on.

    Args:
        values: The secrets, as headers carry them: `Bearer abc`.
    """

    def __init__(self, values: Iterable[str]) -> None:
        secrets = {part for value in values for part in (value, value.partition(" ")[2].strip())} - {""}
        written = {write(secret) for secret in secrets for write in _WRITTEN}
        beginnings = {text[:size] + _CUT for text in written for size in range(_SHORTEST_REST, _PART)}
        whole = sorted(written | beginnings, key=len, reverse=True)
        self._whole = re.compile("|".join(map(re.escape, whole)) or "(?!)")
        parts = {text[start : start + _PART] for text in written for start in range(len(text) - _PART + 1)}
        self._parts = frozenset(part for part in parts if part == part.strip())

    def __call__(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._without_parts(self._whole.sub(_masked, text))

    def __repr__(self) -> str:
        """Tell nothing of what is secret."""
        return "Redaction()"

    def _without_parts(self, text: str) -> str:
        kept: list[str] = []
        masked_to = 0
        for start in range(len(text) - _PART + 1):
            if text[start : start + _PART] not in self._parts:
                continue
            if start > masked_to or not kept:
                kept += [text[masked_to:start], _MASK]
            masked_to = start + _PART
        return "".join((*kept, text[masked_to:]))


def redacted(error: _Error, redact: Redact) -> _Error:
    """Take secrets out of an error, and let it tell no cause, whose text has them still."""
    error.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in error.args)
    error.__cause__ = error.__context__ = None
    return error


def _masked(found: re.Match[str]) -> str:
    return _MASK + _CUT * found[0].endswith(_CUT)
