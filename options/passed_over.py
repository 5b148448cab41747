"""Names in a file `.env` that nothing reads, though they look as if something did."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from options.parsing import beam_flags, own_flags
from options.settings import SETTINGS

_ALIKE = 0.75  # as OUTPUT_DIR is to OUTPUT
_VERY_ALIKE = 0.85  # as --batch_size is to --max_batch_size


def passed_over(names: Iterable[str]) -> Iterator[str]:
    """Tell of names that are nearly those of settings, and of flags that are none of a variable's.

    Args:
        names: Those that the file sets; the names of settings may be among them.
    """
    settings = [setting.variable for setting in SETTINGS]
    others = [name for name in names if name not in settings]
    flags, of_beam = ([], []) if not others else (own_flags(), beam_flags())
    for name in others:
        meant = _setting(name) or next(iter(difflib.get_close_matches(name, settings, 1, _ALIKE)), None)
        flag = f"--{name.lower()}"
        if flag in flags and not _setting(name):
            yield f"{name} in .env is no setting; pass {flag} on the command line"
        elif meant:
            yield f"{name} in .env is no setting; did you mean {meant}?"
        elif flag in of_beam:
            yield f"{name} in .env is no setting; pass {flag} on the command line"
        elif near := difflib.get_close_matches(flag, flags, cutoff=_VERY_ALIKE):
            meant = " or ".join(near)
            yield f"{name} in .env is no setting; did you mean {meant} on the command line?"


def _setting(name: str) -> str | None:
    """Return the variable of a setting that is written in another case, or as one of its flags is called."""
    for setting in SETTINGS:
        if name.lower() in (setting.variable.lower(), setting.flag, *setting.aliases):
            return setting.variable
    return None
