"""The console command."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from transforms.errors import UsageError

PROG = "beam-predict"
INTERRUPTED = 130
_FRAMES = 8

# What Beam's worker processes warn of at every local start, and nobody can act upon.
_NOISE = ("No semi_persistent_directory found", "Discarding unparseable args")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
    from pipeline.run import FAILED, WRONG_USAGE, predict

    _configure_logging()
    try:
        return predict(sys.argv[1:] if arguments is None else arguments, PROG)
    except UsageError as error:
        problems = "".join(f"\n  - {problem}" for problem in error.problems)
        print(
            f"{PROG}: nothing was started, because of:{problems}\n`{PROG} --help` lists the flags",
            file=sys.stderr,
        )
        return WRONG_USAGE
    except (Exception, KeyboardInterrupt) as error:
        if _was_interrupted(error):
            print(f"{PROG}: interrupted; the output is not complete", file=sys.stderr)
            return INTERRUPTED
        traceback.print_exception(error, limit=-_FRAMES, chain=False)  # above them is nothing but Beam
        print(f"{PROG}: the run failed; the output is not complete", file=sys.stderr)
        return FAILED


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind an error: Beam's local runner makes other errors of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def console() -> NoReturn:
    """Run the command line, and end the process."""
    code = main()
    if code == INTERRUPTED:  # threads of the runner may be left, and would be waited for
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _configure_logging() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)  # errors are told at the end
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not any(noise in record.getMessage() for noise in _NOISE))
