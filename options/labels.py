"""Labels of a job on Dataflow, in both forms in which Beam takes them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_RULE = (
    "must be NAME=VALUE of lower-case letters, digits, - and _, with a letter first, such as --labels "
    "team=photos"
)


def read_labels(text: str) -> Mapping[str, str]:
    """Read what stands behind one `--labels`: NAME=VALUE, or a JSON object of several.

    Beam reads the latter as a literal of Python's, and so it is done here.

    Raises:
        ValueError: It is neither; the message says what it must be.
    """
    if not text.startswith("{"):
        name, _, value = text.partition("=")
        return {name: value}
    try:
        labels = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError('must be NAME=VALUE, or JSON such as {"team": "photos"}') from error
    if not isinstance(labels, dict):
        raise ValueError('must be NAME=VALUE, or JSON such as {"team": "photos"}')
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(
                f'names and values must be in quotes, such as {{"team": "photos"}}; got {value!r}'
            )
    return labels


def label_problems(given: Iterable[str]) -> Iterator[str]:
    """Tell what is wrong with what stands behind each `--labels`."""
    for text in given:
        try:
            pairs = [f"{name}={value}" for name, value in read_labels(text).items()]
        except ValueError as error:
            yield f"--labels {text}: {error}"
            continue
        typed = pairs if text.startswith("{") else [text]
        yield from (f"--labels {pair}: {_RULE}" for pair in typed if not _LABEL.fullmatch(pair))
