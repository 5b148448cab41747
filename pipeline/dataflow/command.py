"""`beam-predict dataflow`: a job on Dataflow, from flags, from the environment, or from `.env`."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from options.env_file import ENV_FILE_VARIABLE, load_env_file, read_env_file
from options.launching import MODES, Launch
from options.parsing import read
from options.passed_over import passed_over
from options.settings import SETTINGS
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
        Print the command and what the checks find; start nothing. The command reads from .env what is
        no setting, such as credentials; also there the environment wins.

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
    words, wrong = launch.words(str(SETUP_FILE), suffix_of_name()), launch.wrong()
    if launch.dry_run:
        return _describe(words, wrong)
    if wrong:
        raise UsageError(preflight.inspect(read(words, PROG), wrong).reasons)
    return predict(words, PROG)


def suffix_of_name() -> str:
    """Make the end of a job's name: when it is started, and what two started in one second differ in."""
    return f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def read_launch(mode: str, arguments: Sequence[str]) -> Launch:
    """Read what is given; notes on `.env` are written to standard error.

    Raises:
        UsageError: The file `.env` is not understood.
    """
    load_settings()
    launch = Launch.of(mode, arguments, os.environ)
    if not ENV_FILE.exists() and any(launch.missing()):
        print(
            f"note: there is no .env in {Path.cwd()}; settings are read from the one in the folder where the "
            "command is started, and .env.example shows one",
            file=sys.stderr,
        )
    return launch


def load_settings() -> None:
    """Put into the environment what `.env` has and it lacks, and note what nothing reads there.

    Raises:
        UsageError: The file is not understood.
    """
    for note in passed_over(load_env_file(ENV_FILE)):  # it may be a variable for something else
        print(f"note: {note}", file=sys.stderr)


def _describe(words: Sequence[str], wrong: Sequence[str]) -> int:
    """Print the command, and what is wrong with it."""
    print(f"The command:\n\n{_with_env_file(command(words))}\n\nThe checks:\n", flush=True)
    report = preflight.inspect(read(words, PROG), wrong)
    print(report)
    return WRONG_USAGE if report.problems else DONE


def _with_env_file(pasted: str) -> str:
    """Let a command read what `.env` has beside settings, such as credentials, without showing it."""
    settings = {setting.variable for setting in SETTINGS}
    others = {name: value for name, value in read_env_file(ENV_FILE).items() if name not in settings}
    if all(os.environ.get(name) != value for name, value in others.items() if value):
        return pasted
    return f"{ENV_FILE_VARIABLE}={shlex.quote(str(ENV_FILE.resolve()))} {pasted}"


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
