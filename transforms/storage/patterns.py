"""Patterns of names: one meaning, wherever the files are.

`*` stands for any characters but a slash, `**` for any at all, `?` for one that is no slash, and `[abc]`,
`[a-c]` and `[!abc]` for one of these, or of all others. Every other character stands for itself.
"""

from __future__ import annotations

import fnmatch
import glob
import re

_WILDCARD = re.compile(r"\*\*+|[*?]|\[!?\]?[^\]]*\]")
_WILDCARD_SIGN = re.compile(r"[*?\[]")
_TRANSLATIONS = {"*": "[^/]*", "?": "[^/]"}


def is_pattern(name: str) -> bool:
    """Tell whether a name has wildcards."""
    return literal_prefix(name) != name


def literal_prefix(pattern: str) -> str:
    """Return the part of a pattern that stands before its first wildcard."""
    match = _WILDCARD_SIGN.search(pattern)
    return pattern[: match.start()] if match else pattern


def escape(name: str) -> str:
    """Return the pattern that stands for this name only."""
    return glob.escape(name)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression that matches the whole of a name."""
    parts = []
    end = 0
    for match in _WILDCARD.finditer(pattern):
        parts += [re.escape(pattern[end : match.start()]), _translate(match.group())]
        end = match.end()
    return re.compile("".join([*parts, re.escape(pattern[end:]), r"\Z"]), re.DOTALL)


def _translate(wildcard: str) -> str:
    if wildcard.startswith("**"):
        return ".*"
    if wildcard.startswith("["):
        one_of = fnmatch.translate(wildcard).removeprefix("(?s:").removesuffix(r")\Z")
        return f"(?!/){one_of}"
    return _TRANSLATIONS[wildcard]
