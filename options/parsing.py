"""From the command line to options."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions

from options.batching import BatchingOptions
from options.checks import check_model, check_together, is_on_dataflow
from options.dataflow import DataflowOptions
from options.endpoint import EndpointOptions
from options.engine import EngineOptions
from options.faulty_flags import find_faults
from options.flags import FlagGroup, add_flags
from options.model import ModelOptions
from options.postprocessing import PostprocessingOptions
from options.sink import SinkOptions
from options.source import SourceOptions
from transforms.errors import UsageError
from transforms.records import is_utf8, printable

GROUPS: tuple[type[FlagGroup], ...] = (
    SourceOptions,
    ModelOptions,
    EndpointOptions,
    EngineOptions,
    BatchingOptions,
    PostprocessingOptions,
    SinkOptions,
    DataflowOptions,
)

_DESCRIPTION = "Predict over files, and write one record for each."
_EPILOG = """\
examples:
  %(prog)s --input 'examples/digits/images/*.png' --model examples/digits/model --output out/digits
  %(prog)s --input @photos.csv --model gs://bucket/model --signature from_bytes --output gs://bucket/out \\
      --output_format parquet
  %(prog)s --input_subscription projects/me/subscriptions/photos --model gs://bucket/model \\
      --output bigquery:me.photos.predictions
  %(prog)s --input 'gs://bucket/*.jpg' --endpoint projects/me/locations/europe-west4/endpoints/123 \
      --input_kind bytes --item_input image_bytes --output gs://bucket/out

Apache Beam's own flags (--runner, --direct_num_workers, ...) are passed on to it.

exit codes: 0 done; 1 failed; 2 wrong flags, or a check before the start failed; 3 too many dead letters
"""


@dataclass(frozen=True)
class CommandLine:
    """A command line that was read.

    Attributes:
        options: Every group of `GROUPS`, and each of Beam's, is a view of them.
        unusable: What is wrong with single flags: they are unknown, or have values that they cannot take.
        contradictory: What is wrong with flags together.
    """

    options: PipelineOptions
    unusable: list[str]
    contradictory: list[str]


def parse(arguments: Sequence[str], prog: str = "beam-predict") -> PipelineOptions:
    """Read a command line.

    Raises:
        UsageError: Something is wrong with it; the error holds all that is.
        SystemExit: The help was asked for, and printed.
    """
    line = read(arguments, prog)
    if line.unusable or line.contradictory:
        raise UsageError([*line.unusable, *line.contradictory])
    return line.options


def read(arguments: Sequence[str], prog: str = "beam-predict") -> CommandLine:
    """Read a command line, and tell what is wrong with it.

    Raises:
        SystemExit: The help was asked for, and printed.
    """
    problems = [f"{printable(word)!r} is not UTF-8" for word in arguments if not is_utf8(word)]
    understood_words, faulty = _understood(arguments, prog)
    problems += faulty
    understood = not problems
    options = PipelineOptions(understood_words)
    for group in views(options):
        problems += group.validate()
    problems += check_model(options)
    contradictory = list(check_together(options)) if understood else []
    if options.view_as(SourceOptions).is_streaming:
        options.view_as(StandardOptions).streaming = True
    setup = options.view_as(SetupOptions)
    if is_on_dataflow(options) and setup.save_main_session is None:
        # Beam would hand the names of this process's first file to each worker, which has a use for none.
        setup.save_main_session = False
    return CommandLine(options, problems, contradictory)


def _understood(arguments: Sequence[str], prog: str) -> tuple[list[str], list[str]]:
    """Part a command line into what Beam and this project take, and what is wrong with the rest."""
    own, beam = help_parser(prog), _beam_parser()
    of_own = find_faults(own, arguments)
    words = of_own.without(arguments)
    _, rest = own.parse_known_args(words)
    of_beam = find_faults(beam, rest)
    _, unknown = beam.parse_known_args(of_beam.without(rest))
    told = explain_unknown(unknown, own_flags(), beam_flags()) if unknown else []
    return of_beam.without(words), [*of_own.problems, *of_beam.problems, *told]


def views(options: PipelineOptions) -> list[FlagGroup]:
    """View options as each of this project's groups."""
    every: tuple[Any, ...] = GROUPS
    return [options.view_as(group) for group in every]


def help_parser(prog: str) -> argparse.ArgumentParser:
    """Build the parser of this project's own flags."""
    parser = Parser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --input FILES (--model PATH | --endpoint URL) --output FOLDER [flags]",
    )
    for group in GROUPS:
        add_flags(parser.add_argument_group(group.TITLE), group.FLAGS)
    return parser


class Parser(argparse.ArgumentParser):
    """A parser that raises what it would print."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        raise UsageError([message])


def _beam_parser() -> argparse.ArgumentParser:
    parser = Parser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for group in PipelineOptions.__subclasses__():
        if not issubclass(group, FlagGroup):
            group._add_argparse_args(cast(Any, parser))
    return parser


def explain_unknown(words: Sequence[str], *known: Sequence[str]) -> list[str]:
    """Tell what is wrong with words that no flag takes.

    Args:
        words: In the order in which they were typed.
        known: The flags that there are; those that are likelier to be meant first.
    """
    problems = []
    belongs = False  # whether a word may be the value of the unknown flag before it
    stray = []
    for word in words:
        if word.startswith("-"):
            problems.append(f"unknown flag {_name(word)}{_suggestion(_name(word), known)}")
            belongs = "=" not in word
        else:
            stray += [] if belongs else [word]
            belongs = False
    if stray:
        problems.append(
            f"{stray[0]!r} belongs to no flag; put a glob in quotes, so that the shell leaves it alone"
        )
    return problems


def _name(word: str) -> str:
    return word.partition("=")[0]


def _suggestion(name: str, known: Sequence[Sequence[str]]) -> str:
    close = (match for flags in known for match in difflib.get_close_matches(name, flags, n=1))
    found = next(close, None)
    return f"; did you mean {found}?" if found else ""


def own_flags() -> list[str]:
    """Return the flags of this project, with their dashes."""
    return [f"--{flag.name}" for group in GROUPS for flag in group.FLAGS]


def beam_flags() -> list[str]:
    """Return the flags of Beam, with their dashes."""
    actions: Any = _beam_parser()._actions
    return [option for action in actions for option in action.option_strings]
