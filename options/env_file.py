"""Lines NAME=VALUE, as in a file `.env`.

They are read here, and by the shell of who pastes what a dry run prints; so only lines are taken that mean
the same to both. What a shell would replace, run or split must be in single quotes.
"""

from __future__ import annotations

import re
from pathlib import Path

_START = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_PIECE = re.compile(r"""'([^']*)'|"([^"$`\\]*)"|([\w@%+=:,./^!*?\[\]-]+)""")
_END = re.compile(r"[ \t]*|[ \t]+#.*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_READ_ONLY = {"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}


def read_env_file(path: Path) -> dict[str, str]:
    """Read lines NAME=VALUE as a shell does; where there is no file, there are none.

    Raises:
        ValueError: A line is none, or means something else to a shell; the message tells which, and what to
            do. It does not repeat the line, which may hold a secret.
    """
    if not path.exists() or path.is_dir():  # some keep their virtual environment in .env
        return {}
    found = {}
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip(" \t") and not line.lstrip(" \t").startswith("#"):
            try:
                name, value = _assignment(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            found[name] = value
    return found


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}); save it as UTF-8") from error
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise ValueError(
            f"{path} begins with a byte order mark, which a shell takes as part of the first line; save it "
            "as UTF-8 without one"
        )
    if "\r" in text:
        raise ValueError(
            f"{path} has lines that end as on Windows, and a shell takes the carriage return as part of the "
            f"value; remove them with: sed -i 's/\\r$//' {path}"
        )
    if control := _CONTROL.search(text):
        number = text.count("\n", 0, control.start()) + 1
        raise ValueError(f"{path}, line {number}: has the control character {control.group()!r}; remove it")
    return text


def _assignment(line: str) -> tuple[str, str]:
    start = _START.match(line)
    if start is None:
        raise ValueError("must be NAME=VALUE, with the value in quotes, and no blanks around the =")
    name, position, value = start.group(1), start.end(), ""
    if name in _READ_ONLY:
        raise ValueError(f"{name} cannot be set in a shell; leave it out")
    while piece := _PIECE.match(line, position):
        position, value = piece.end(), value + "".join(filter(None, piece.groups()))
    if not _END.fullmatch(line, position):
        raise ValueError(_remedy(name, line[position:]))
    return name, value


def _remedy(name: str, rest: str) -> str:
    single = f"write {name}='VALUE', in single quotes"
    if rest[0] == "'":
        return f"a ' has no second one; {single}"
    if rest[0] == '"' and '"' not in rest[1:]:
        return f'a " has no second one; {single}'
    if rest[0] == '"':
        return f"a $, ` or \\ between double quotes is no mere text to a shell; {single}"
    if rest[0] in " \t":
        return f"there is more behind the value; {single}, or a # and a blank before it in front of a comment"
    return f"a {rest[0]} outside quotes may be more than text to a shell; {single}"
