"""Flags that argparse does not take, so that it tells them and nothing else: found, and taken away."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from transforms.errors import UsageError

_FAULT = re.compile(r"argument (?P<names>-\S+): (?P<problem>.*)", re.DOTALL)
_NO_VALUE = "expected one argument"
_A_VALUE = "ignored explicit argument "
_INVALID = re.compile(r"invalid (?P<type>\w+) value: (?P<typed>.*)", re.DOTALL)
_WANTED = {
    "loads": """JSON, such as '{"Old step": "New step"}', in single quotes""",
    "int": "a whole number",
    "float": "a number",
}
"""What Beam's flags want, by the function that makes their values."""


@dataclass(frozen=True)
class Faults:
    """What a parser does not take.

    Attributes:
        flags: The names of the flags, with their dashes.
        problems: What is wrong with each.
    """

    flags: Set[str]
    problems: Sequence[str]

    def without(self, words: Sequence[str]) -> list[str]:
        """Take the flags, and what stands behind them, out of a command line."""
        kept = []
        belongs = False  # whether a word may be the value of the flag before it
        for word in words:
            faulty = word.partition("=")[0] in self.flags
            if not faulty and (word.startswith("-") or not belongs):
                kept.append(word)
            belongs = faulty and "=" not in word
        return kept


def find_faults(parser: argparse.ArgumentParser, words: Sequence[str]) -> Faults:
    """Tell which flags lack their values, or have some that their type cannot be made of.

    Args:
        parser: Raises `UsageError` where argparse would end the process.
        words: A command line.

    Raises:
        UsageError: It is not understood for another reason.
    """
    faults = Faults(frozenset(), ())
    left = list(words)
    while True:
        try:
            parser.parse_known_args(left)
        except UsageError as error:
            match = _FAULT.fullmatch(error.problems[0])
            if match is None:
                raise
            flags = faults.flags | set(match["names"].split("/"))
            faults = Faults(flags, [*faults.problems, _told(match["names"], match["problem"])])
            fewer = faults.without(words)
            if len(fewer) == len(left):
                raise
            left = fewer
        else:
            return faults


def _told(names: str, problem: str) -> str:
    if problem == _NO_VALUE:
        return f"{names} has no value; put one behind it, or leave it out"
    if problem.startswith(_A_VALUE):
        return f"{names} takes no value; leave out {problem.removeprefix(_A_VALUE)}"
    invalid = _INVALID.fullmatch(problem)
    if invalid and invalid["type"] in _WANTED:
        return f"{names} must be {_WANTED[invalid['type']]}; got {invalid['typed']}"
    return f"{names}: {problem}"
