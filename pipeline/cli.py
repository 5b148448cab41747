"""The console command."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pipeline import consequence
from pipeline.consequence import NOTHING_STARTED
from pipeline.exit_codes import FAILED, INTERRUPTED, WRONG_USAGE, Ended
from transforms import errors
from transforms.errors import ConfigurationError, UsageError

PROG = "beam-predict"
_FRAMES = 8
_STEP = re.compile(r" \[while running '[^']*'\]\s*\Z")  # as Beam adds it to an error
_RAISED = re.compile(rf"^{re.escape(errors.__name__)}\.(\w+): ((?:.+\n?)+)", re.MULTILINE)  # in a traceback

# What Beam's worker processes warn of at every local start, and Google's library of credentials where they
# have no project of their own; nobody needs to act upon it. And errors of steps, which are told at the end.
_NOISE = (
    "No semi_persistent_directory found",
    "Discarding unparseable args",
    "No project ID could be determined",
    "[while running ",
)


@dataclass(frozen=True)
class Command:
    """One of the things that the console command does.

    Attributes:
        module: Where its function is; imported when the command is given.
        function: From the arguments to the exit code.
        help: What it does.
        consequence: What it means that it ends at its very beginning; nothing, where that needs no words.
    """

    module: str
    function: str
    help: str
    consequence: str = ""

    def run(self, arguments: Sequence[str]) -> int:
        """Run the command."""
        function: Any = getattr(importlib.import_module(self.module), self.function)
        return int(function(arguments))


PREDICT = "predict"
COMMANDS: Mapping[str, Command] = {
    PREDICT: Command(
        "pipeline.run", "predict", "predict over files; the word may be left out", NOTHING_STARTED
    ),
    "inspect": Command("pipeline.inspect_model", "main", "tell what a model is and how it would be used"),
    "convert": Command("pipeline.convert", "main", "convert a model for another engine, and compare the two"),
    "fetch": Command("pipeline.fetch_model", "main", "copy a model from a bucket to a folder, for an image"),
    "replay": Command("pipeline.replay", "main", "make a list of what became dead letters, to try it again"),
    "serve": Command(
        "pipeline.serve", "main", "serve a model over HTTP, for other programs and for --endpoint"
    ),
    "notify": Command(
        "pipeline.notify", "main", "let a bucket tell of its new files, for a job that streams"
    ),
    "dataflow": Command(
        "pipeline.dataflow.command",
        "main",
        "predict on Dataflow: dataflow batch, dataflow streaming",
        NOTHING_STARTED,
    ),
    "template": Command(
        "pipeline.flex_template.command", "main", "build a Flex Template for Dataflow, or run it"
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
    _configure_logging()
    name, rest = _choose(sys.argv[1:] if arguments is None else arguments)
    consequence.from_now_on(COMMANDS[name].consequence)
    try:
        return _run(name, rest)
    except (Exception, KeyboardInterrupt) as error:
        return _tell(error, consequence.of_ending_now(), COMMANDS[name].consequence)


def _tell(error: BaseException, now: str, at_first: str) -> int:
    """Tell why the command has not come to its end, and what that means; return the exit code."""
    ending = f"; {now}" if now else ""
    if _was_interrupted(error):
        print(f"{PROG}: interrupted{ending}", file=sys.stderr)
        return INTERRUPTED
    reason = _reason(error)
    if reason is None:
        traceback.print_exception(error, limit=-_FRAMES, chain=False)  # above them is nothing but Beam
    what, told = "failed" if now == at_first else "the run failed", "" if reason is None else f": {reason}"
    print(f"{PROG}: {what}{told}{ending}", file=sys.stderr)
    return FAILED


def _choose(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Tell the command, and what is left for it."""
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    if {"-h", "--help"} & set(arguments):
        print(_listed())
    return PREDICT, arguments


def _listed() -> str:
    lines = [f"  {PROG} {name:<8}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(["commands, each with its own --help:", *lines, ""])


def _run(name: str, arguments: Sequence[str]) -> int:
    try:
        if os.environ.get("BEAM_PREDICT_ENV_FILE"):  # the command that a dry run on Dataflow has printed
            importlib.import_module("options.env_file").load_named_env_file()
        return COMMANDS[name].run(arguments)
    except UsageError as error:
        problems = "".join(f"\n  - {problem}" for problem in error.problems)
        command = PROG if name == PREDICT else f"{PROG} {name}"
        print(
            f"{command}: nothing was started, because of:{problems}\n`{command} --help` lists the flags",
            file=sys.stderr,
        )
        return WRONG_USAGE
    except Ended as ended:
        print(f"{PROG}: {ended}", file=sys.stderr)
        return ended.code
    except ConfigurationError as error:
        if name == PREDICT:
            raise
        print(f"{PROG} {name}: failed: {error}", file=sys.stderr)
        return FAILED


def _was_interrupted(error: BaseException) -> bool:
    """Tell whether Ctrl-C is behind an error: Beam's local runner makes other errors of it."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error))


def _reason(error: BaseException) -> str | None:
    """Return what the user can change so that the run succeeds; None where it failed for another reason.

    What comes from another process is one error, whose text has all others.
    """
    for cause in _causes(error):
        if isinstance(cause, ConfigurationError):
            return _STEP.sub("", str(cause))
        for name, text in reversed(_RAISED.findall(str(cause))):
            kind = getattr(errors, name, None)
            if isinstance(kind, type) and issubclass(kind, ConfigurationError):
                return _STEP.sub("", text.rstrip())
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it comes from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


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
