"""Lines NAME=VALUE, as in a file `.env`.

They are read here, and by the shells of those who source the file; so only lines are taken that mean the same
to both. What a shell would replace, run or split must be in single quotes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from transforms.errors import UsageError

ENV_FILE_VARIABLE = "BEAM_PREDICT_ENV_FILE"
"""Names a file that each `beam-predict` reads first: so what a dry run prints has what is not to be shown."""

_START = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_PIECE = re.compile(r"""'([^']*)'|"([^"$`\\]*)"|([\w@%+=:,./^!*?\[\]-]+)""")
_END = re.compile(r"[ \t]*|[ \t]+#.*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NOT_REPLACED = "no variable is replaced in this file, so write its value out; or, where a $ is meant"
_READ_ONLY = {"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}


class BadEnvFile(ValueError):
    """A file that is not understood.

    Attributes:
        problems: What is wrong with each of its lines.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def load_named_env_file() -> None:
    """Load the file that the environment names, if it does.

    Raises:
        UsageError: It is not there, or not understood.
    """
    named = os.environ.get(ENV_FILE_VARIABLE)
    if named and not Path(named).is_file():
        raise UsageError([f"{ENV_FILE_VARIABLE}={named}: there is no such file; name another, or unset it"])
    if named:
        load_env_file(Path(named))


def load_env_file(path: Path) -> dict[str, str]:
    """Put into the environment what a file has and the environment lacks, and return what the file has.

    Raises:
        UsageError: The file is not understood.
    """
    try:
        in_file = read_env_file(path)
    except BadEnvFile as error:
        raise UsageError([*error.problems]) from error
    for name, value in in_file.items():  # credentials may be there, or the addresses of emulators
        os.environ.setdefault(name, value)
    return in_file


def read_env_file(path: Path) -> dict[str, str]:
    """Read lines NAME=VALUE as a shell does; where there is no file, there are none.

    Raises:
        BadEnvFile: Lines are none, or mean something else to a shell; it tells which, and what to do. It
            does not repeat the lines, which may hold secrets.
    """
    if not path.exists() or path.is_dir():  # some keep their virtual environment in .env
        return {}
    found, problems = {}, []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip(" \t") and not line.lstrip(" \t").startswith("#"):
            try:
                name, value = _assignment(line)
                found[name] = value
            except ValueError as error:
                problems.append(f"{path}, line {number}: {error}")
    if problems:
        raise BadEnvFile(*problems)
    return found


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadEnvFile(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadEnvFile(f"{path} is no text in UTF-8 ({error}); save it as UTF-8") from error
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise BadEnvFile(
            f"{path} begins with a byte order mark, which a shell takes as part of the first line; save it "
            "as UTF-8 without one"
        )
    if "\r" in text:
        raise BadEnvFile(
            f"{path} has lines that end as on Windows, and a shell takes the carriage return as part of the "
            f"value; remove them with: sed -i 's/\\r$//' {path}"
        )
    if control := _CONTROL.search(text):
        number = text.count("\n", 0, control.start()) + 1
        raise BadEnvFile(f"{path}, line {number}: has the control character {control.group()!r}; remove it")
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
    if rest[0] in "'\"" and rest[0] not in rest[1:]:
        return f"a {rest[0]} has no second one; {single}"
    if rest[0] == '"':
        if re.match(r'"[^"$`\\]*\$', rest):
            return f"a $ between double quotes: {_NOT_REPLACED}, {single}"
        return f"a ` or \\ between double quotes is no mere text to a shell; {single}"
    if rest[0] in " \t":
        return f"there is more behind the value; {single}, or a # and a blank before it in front of a comment"
    if rest[0] == "$":
        return f"a $ outside quotes: {_NOT_REPLACED}, {single}"
    return f"a {rest[0]} outside quotes may be more than text to a shell; {single}"
