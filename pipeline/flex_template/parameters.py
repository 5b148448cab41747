"""Between the parameters of a Flex Template and the flags of a command line.

A parameter has a name and one text. Of each, the launcher that Google provides makes one word, `--NAME=TEXT`:
also of a switch, which takes no text here, and of a flag that may be given several times here.
"""

from __future__ import annotations

import argparse
import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from options import parsing
from options.flags import Flag
from transforms.errors import UsageError

SEPARATOR = ";"
OPTIONS, OPTIONS_SEPARATOR = "dataflow_service_options", ","
"""The flag of Beam's that may be given several times, and whose values have a ; in them."""

_log = logging.getLogger(__name__)


def join_values(values: Iterable[str], separator: str = SEPARATOR) -> str:
    """Make one text of the values of a flag that may be given several times."""
    return separator.join(value.replace(separator, separator * 2) for value in values)


def split_values(text: str, separator: str = SEPARATOR) -> list[str]:
    """Read what `join_values` has written, or a person, who may put blanks between the values."""
    within = text.replace(separator * 2, "\0")
    parts = (part.strip().replace("\0", separator) for part in within.split(separator))
    return [part for part in parts if part]


def command_line(passed: Sequence[str]) -> list[str]:
    """Make of what the launcher passes what `options.parse` reads.

    A parameter without a text counts as not given, for the forms in which people fill in parameters pass on
    all of them.
    """
    return _known([word for argument in passed for word in _words(argument)])


def own_flags() -> dict[str, Flag]:
    """Return the flags of this project by their names."""
    return {flag.name: flag for group in parsing.GROUPS for flag in group.FLAGS}


def _words(argument: str) -> Iterator[str]:
    name, equals, text = argument.partition("=")
    flag = own_flags().get(name.removeprefix("--"))
    if not equals or not name.startswith("--"):
        yield argument
    elif name in _switches() and text.strip().lower() in ("true", "false", ""):
        yield from _switched(name, text.strip().lower())
    elif flag is not None and flag.repeated:
        yield from (f"{name}={value}" for value in split_values(text))
    elif name == f"--{OPTIONS}":
        yield from (f"{name}={value}" for value in split_values(text, OPTIONS_SEPARATOR))
    elif text:
        yield argument


def _switched(name: str, text: str) -> Iterator[str]:
    """Turn a switch on, or off where there is one for that: `--no_use_public_ips` for `--use_public_ips`."""
    if text == "true":
        yield name
    elif text == "false":
        switch = _switches()[name]
        others = (other for other in _switches().values() if other.dest == switch.dest)
        opposite = next((other for other in others if other.const is not switch.const), None)
        yield from opposite.option_strings[:1] if opposite else ()


@cache
def _switches() -> Mapping[str, argparse.Action]:
    """Return this project's switches and Beam's, by their names."""
    actions: list[Any] = [*parsing.help_parser("")._actions, *parsing._beam_parser()._actions]
    return {name: action for action in actions if action.nargs == 0 for name in action.option_strings}


def _known(arguments: list[str]) -> list[str]:
    """Leave out what is none of the flags, unless it resembles one of this project's.

    Google's launcher may pass what only other versions of Beam know, and that must not stop the job. Dataflow
    itself refuses a parameter that the template's metadata do not have.
    """
    try:
        _, rest = parsing.help_parser("").parse_known_args(arguments)
        _, unknown = parsing._beam_parser().parse_known_args(rest)
    except UsageError:
        return arguments  # whoever parses them tells what is wrong, with all the rest
    own = [f"--{name}" for name in own_flags()]
    strange = [word for word in unknown if not difflib.get_close_matches(word.partition("=")[0], own, n=1)]
    for word in strange:
        _log.warning("%s is no flag of this version, and is left out", word.partition("=")[0])
    return [word for word in arguments if word not in strange]
