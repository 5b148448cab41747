"""`beam-predict dataflow`: a job on Dataflow, from flags, from the environment, or from `.env`."""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from options.env_file import read_env_file
from options.launching import MODES, Launch
from options.parsing import read
from options.settings import SETTINGS, misspelt
from pipeline.dataflow import preflight
from pipeline.exit_codes import DONE, WRONG_USAGE
from pipeline.run import predict
from transforms.errors import UsageError

PROG = "beam-predict dataflow"
ENV_FILE = Path(".env")
SETUP_FILE = Path(__file__).parents[2] / "setup.py"

_INDENT = 8 * " "
_HELP = """\
usage: {prog} {modes} [flags]

Predict on Google Cloud Dataflow: {meaning}.

Each setting is a variable of the environment, a flag, which wins, or a line in the file .env of the
current folder, which loses; .env.example shows one.

{settings}
  --dry_run
        Print the command and what the checks find; start nothing.

All other flags are passed on: those of `beam-predict --help`, such as --watch, --no_wait and
--skip_preflight, and those of Apache Beam, such as --update and --transform_name_mapping.
"""
_MEANING = {
    "batch": "on files that are there; it ends when all are done",
    "streaming": "on files as they come, until the job is drained or cancelled",
}


def main(arguments: Sequence[str]) -> int:
    """Start the job that a command line and the environment describe, or tell what it would be.

    Returns:
        The exit code: of the run, or in a dry run `DONE`, or `WRONG_USAGE` where the checks find something.

    Raises:
        UsageError: Something is missing, or wrong.
    """
    mode = arguments[0] if arguments else ""
    if {"-h", "--help"} & set(arguments):
        print(_help(mode))
        return DONE
    if mode not in MODES:
        raise UsageError(
            [f"say {' or '.join(MODES)} first; got {mode!r}" if mode else f"say {' or '.join(MODES)}"]
        )
    launch = read_launch(mode, arguments[1:])
    time = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    words, wrong = launch.words(str(SETUP_FILE), time), launch.wrong()
    if launch.dry_run:
        return _describe(words, wrong)
    if wrong:
        raise UsageError(preflight.inspect(read(words, PROG), wrong).reasons)
    return predict(words, PROG)


def load_env_file() -> dict[str, str]:
    """Put into the environment what `.env` has and the environment lacks, and return what the file has.

    Raises:
        UsageError: The file is not understood.
    """
    try:
        in_file = read_env_file(ENV_FILE)
    except ValueError as error:
        raise UsageError([str(error)]) from error
    for name, value in in_file.items():  # credentials may be there, or the addresses of emulators
        os.environ.setdefault(name, value)
    return in_file


def read_launch(mode: str, arguments: Sequence[str]) -> Launch:
    """Read what is given; names in `.env` that may be misspelt are told on standard error.

    Raises:
        UsageError: The file `.env` is not understood.
    """
    for note in misspelt(load_env_file()):  # it may be a variable for something else
        print(f"note: {note}", file=sys.stderr)
    return Launch.of(mode, arguments, os.environ)


def _describe(words: Sequence[str], wrong: Sequence[str]) -> int:
    """Print the command, and what is wrong with it."""
    print(f"The command:\n\n{_with_env_file(command(words))}\n\nThe checks:\n", flush=True)
    report = preflight.inspect(read(words, PROG), wrong)
    print(report)
    return WRONG_USAGE if report.problems else DONE


def _with_env_file(pasted: str) -> str:
    """Give a command what `.env` has beside settings, such as credentials, without showing it."""
    settings = {setting.variable for setting in SETTINGS}
    others = {name: value for name, value in read_env_file(ENV_FILE).items() if name not in settings}
    if all(os.environ.get(name) != value for name, value in others.items() if value):
        return pasted
    return f"(set -a; . {shlex.quote(str(ENV_FILE.resolve()))}; {pasted})"


def command(words: Sequence[str]) -> str:
    """Write the command of a job so that it can be pasted into a shell, in any folder."""
    program = Path(sys.executable).with_name("beam-predict")
    return " \\\n  ".join(shlex.quote(word) for word in (str(program), *words))


def _help(mode: str) -> str:
    return _HELP.format(
        prog=PROG,
        modes=mode if mode in MODES else "|".join(MODES),
        meaning=_MEANING.get(mode, "; ".join(f"{name}: {text}" for name, text in _MEANING.items())),
        settings="\n".join(_settings()),
    )


def _settings() -> list[str]:
    wrap = textwrap.TextWrapper(width=100, initial_indent=_INDENT, subsequent_indent=_INDENT)
    lines = []
    for setting in SETTINGS:
        required = " Required." if setting.required else ""
        lines.append(f"  {setting.variable}, --{setting.flag} {setting.example}")
        lines += wrap.wrap(f"{setting.help}{required}")
    return lines
