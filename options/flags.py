"""What a flag is: its name, its help, its values, and what is wrong with one that it cannot take.

Each flag is defined once, as a `Flag` in the table of its group; the parser, the help and the checks follow
from it.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

_BYTE_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


class Kind(Protocol):
    """What values a flag takes.

    One whose `is_secret` is true may be given a secret by mistake: what was typed is then not repeated.
    """

    @property
    def metavar(self) -> str:
        """What the help shows for a value."""

    def parse(self, text: str) -> Any:
        """Make the value of what was typed.

        Raises:
            ValueError: It is none; the message says what it must be.
        """

    def show(self, value: Any) -> str:
        """Write a value as it may be typed."""


@dataclass(frozen=True)
class Text:
    """Any text that is not empty."""

    metavar: str

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        if not text.strip():
            raise ValueError("must not be empty")
        return text

    def show(self, value: str) -> str:
        """See `Kind.show`."""
        return value


class PubSubPath(Text):
    """The path of a subscription or a topic of Pub/Sub's."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"projects/PROJECT/{kind}s/{kind.upper()}")
        self._pattern = re.compile(rf"projects/[a-z0-9.:-]+/{kind}s/[A-Za-z][\w.~+%-]{{2,254}}", re.ASCII)

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        if not self._pattern.fullmatch(super().parse(text)):
            raise ValueError(f"must be {self.metavar}")
        return text

    @property
    def regex(self) -> str:
        """What all of a path matches."""
        return self._pattern.pattern


@dataclass(frozen=True)
class Assignment:
    """A name and a value."""

    metavar: str = "NAME=VALUE"

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        name, equals, _ = text.partition("=")
        if not name or not equals:
            raise ValueError("must be a name, =, and a value")
        return text

    def show(self, value: str) -> str:
        """See `Kind.show`."""
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    values: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """The words."""
        return "|".join(self.values)

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        if text not in self.values:
            raise ValueError(f"must be one of {', '.join(self.values)}{_did_you_mean(text, self.values)}")
        return text

    def show(self, value: str) -> str:
        """See `Kind.show`."""
        return value


@dataclass(frozen=True)
class Whole:
    """A whole number of at least `minimum`."""

    minimum: int = 1
    metavar: str = "N"

    def parse(self, text: str) -> int:
        """See `Kind.parse`."""
        if not re.fullmatch(r"-?\d+", text) or int(text) < self.minimum:
            raise ValueError(f"must be a whole number of at least {self.minimum}")
        return int(text)

    def show(self, value: int) -> str:
        """See `Kind.show`."""
        return str(value)


@dataclass(frozen=True)
class Bytes:
    """A number of bytes, with or without a unit."""

    metavar: str = "BYTES"

    def parse(self, text: str) -> int:
        """See `Kind.parse`."""
        match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text)
        unit = _BYTE_UNITS.get(match.group(2).upper()) if match else None
        if match is None or unit is None or int(match.group(1)) < 1:
            raise ValueError("must be a number of bytes of at least 1, such as 500000, 20MB or 64MiB")
        return int(match.group(1)) * unit

    def show(self, value: int) -> str:
        """See `Kind.show`."""
        mebibytes, rest = divmod(value, 1 << 20)
        return str(value) if rest else f"{mebibytes}MiB"


@dataclass(frozen=True)
class Share:
    """A number from 0 to 1."""

    metavar: str = "SHARE"

    def parse(self, text: str) -> float:
        """See `Kind.parse`."""
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise ValueError("must be a number from 0 to 1")
        return value

    def show(self, value: float) -> str:
        """See `Kind.show`."""
        return str(value)


@dataclass(frozen=True)
class Invalid:
    """A value that a flag cannot take; kept until all flags are read, so that all errors are told at once."""

    typed: str
    problem: str


@dataclass(frozen=True)
class Flag:
    """One flag of the command line.

    Attributes:
        name: Without the dashes.
        help: One or two sentences, with units.
        kind: The values that it takes; None for a switch that is on or off.
        default: What holds when it is not given.
        repeated: Whether it may be given several times, which makes a list of its values.
    """

    name: str
    help: str
    kind: Kind | None = None
    default: Any = None
    repeated: bool = False

    def add_to(self, parser: Any) -> None:
        """Declare the flag to argparse."""
        name, text = f"--{self.name}", self._help()
        if self.kind is None:
            parser.add_argument(name, action="store_true", default=False, help=text)
            return
        parser.add_argument(
            name,
            action="append" if self.repeated else "store",
            type=self._parse,
            default=self.default,
            metavar=self.kind.metavar,
            help=text,
        )

    def problems(self, value: Any) -> list[str]:
        """Tell what is wrong with a value that was parsed."""
        values = value if isinstance(value, list) else [value]
        is_secret = getattr(self.kind, "is_secret", False)
        return [
            f"--{self.name} {item.problem}" + ("" if is_secret else f"; got {item.typed!r}")
            for item in values
            if isinstance(item, Invalid)
        ]

    def _parse(self, typed: str) -> Any:
        try:
            return cast(Kind, self.kind).parse(typed)
        except ValueError as error:
            return Invalid(typed, str(error))

    def _help(self) -> str:
        text = self.help.replace("%", "%%")
        repeated = " May be given several times." if self.repeated else ""
        if self.kind is None or self.default is None:
            return text + repeated
        return f"{text}{repeated} Default: {self.kind.show(self.default)}."


class FlagGroup:
    """The flags of one concern; a group is one of Beam's `PipelineOptions` as well.

    A subclass fills the two tables, hands the flags to argparse, and may add rules to `validate`.
    """

    TITLE: ClassVar[str] = ""
    FLAGS: ClassVar[Sequence[Flag]] = ()

    def validate(self) -> list[str]:
        """Return one message for each thing that is wrong with this group's values."""
        return [problem for flag in self.FLAGS for problem in flag.problems(getattr(self, flag.name))]

    def given(self, name: str) -> bool:
        """Tell whether a flag has a value that can be used."""
        value = getattr(self, name)
        values = value if isinstance(value, list) else [value]
        return bool(values) and not any(item is None or isinstance(item, Invalid) for item in values)

    def changed(self, name: str) -> bool:
        """Tell whether a flag has another value than when it is not given."""
        (default,) = (flag.default for flag in self.FLAGS if flag.name == name)
        return self.given(name) and getattr(self, name) != default


def add_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup, flags: Iterable[Flag]) -> None:
    """Declare flags to argparse."""
    for flag in flags:
        flag.add_to(parser)


def _did_you_mean(typed: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(typed, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
