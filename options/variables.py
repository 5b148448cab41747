"""Which variables give a job its settings: one `.env` serves both modes, and gives way to flags."""

from __future__ import annotations

from collections.abc import Mapping, Set

from options.dataflow_checks import is_beams_own
from options.settings import (
    ENDPOINT,
    IMAGE,
    INPUT,
    MODEL,
    PREDICT_ACCELERATOR,
    SETTINGS,
    STREAMING_MODE,
    SUBSCRIPTION,
    WORKER_ACCELERATOR,
    Setting,
)

BATCH, STREAMING = "batch", "streaming"
ENDLESS = ("input_subscription", "input_topic", "watch")

_SOURCES = frozenset((INPUT.flag, *ENDLESS))
_GIVES_WAY: Mapping[str, Set[str]] = {
    MODEL.flag: {ENDPOINT.flag},
    ENDPOINT.flag: {MODEL.flag},
    PREDICT_ACCELERATOR.flag: {WORKER_ACCELERATOR.flag, ENDPOINT.flag},
    WORKER_ACCELERATOR.flag: {PREDICT_ACCELERATOR.flag, ENDPOINT.flag},
}
"""The flags that a setting does not go with: where one is typed, its variable is not about the job."""

_EXCLUSIVE = (
    (MODEL, ENDPOINT),
    (ENDPOINT, PREDICT_ACCELERATOR),
    (ENDPOINT, WORKER_ACCELERATOR),
    (PREDICT_ACCELERATOR, WORKER_ACCELERATOR),
)


def values_of(variables: Mapping[str, str], mode: str, typed: Set[str]) -> tuple[dict[str, str], list[str]]:
    """Choose what variables give to a job.

    Args:
        variables: The environment.
        mode: `batch` or `streaming`.
        typed: The flags that are given, by their names; they win over variables, their own and others.

    Returns:
        The values by their flags, and what is wrong with variables that exclude each other: the values have
        the first of them.
    """
    values = {
        setting.flag: value
        for setting in SETTINGS
        if (value := variables.get(setting.variable)) and _applies(setting, value, mode, typed)
    }
    problems = []
    for first, second in _EXCLUSIVE:
        if first.flag in values and second.flag in values:
            del values[second.flag]
            problems.append(
                f"{first.variable} and {second.variable} are both set, and a job has one of them; leave one "
                f"out, or pass --{first.flag}, which wins"
            )
    return values, problems


def _applies(setting: Setting, value: str, mode: str, typed: Set[str]) -> bool:
    """Tell whether a variable is about this job."""
    if setting.flag in typed or not typed.isdisjoint(_GIVES_WAY.get(setting.flag, ())):
        return False
    if setting is IMAGE:  # what is installed over an image of Beam's goes with it, and with no other
        return "setup_file" not in typed or is_beams_own(value)
    sources = typed & _SOURCES
    if setting is INPUT:
        return mode == BATCH or sources == {"watch"}
    if setting is SUBSCRIPTION:
        return mode == STREAMING and not sources
    return setting is not STREAMING_MODE or mode == STREAMING
