"""What `beam-predict inspect`, `convert` and `fetch` share: command lines, and which model one means."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions

from options import ModelOptions
from options.faulty_flags import find_faults
from options.flags import Flag, add_flags
from options.parsing import Parser, explain_unknown
from transforms import storage
from transforms.predictors.open_model import FoundModel, find_model
from transforms.predictors.versions import Version, choose_version

_OF_A_RUN = ("model_poll_interval", "model_sharing")

MODEL_FLAGS = tuple(flag for flag in ModelOptions.FLAGS if flag.name not in _OF_A_RUN)
"""The flags that tell which model is meant, and how it is fed."""

Group = TypeVar("Group", bound=PipelineOptions)


@dataclass(frozen=True)
class ChosenModel:
    """The model that a command line means.

    Attributes:
        version: Which version of it; None where it has no versions.
        found: What was found there.
    """

    version: Version | None
    found: FoundModel

    def file_sizes(self) -> list[int]:
        """List the bytes of each of the model's files.

        Raises:
            ReadError: They cannot be listed.
        """
        path = self.found.path
        files = list(storage.glob(storage.join(storage.escape(path), "**")))
        return [file.size or 0 for file in files or [storage.stat(path)]]


def choose_model(model: ModelOptions) -> ChosenModel:
    """Find the model that options name, or its version.

    Raises:
        ModelError: There is none, or it is not complete.
    """
    version = choose_version(model.model, model.model_version)
    return ChosenModel(version, find_model(version.path if version else model.model))


def make_parser(
    prog: str,
    description: str,
    usage: str,
    groups: Mapping[str, Sequence[Flag]],
    model_flags: Sequence[Flag] = MODEL_FLAGS,
) -> argparse.ArgumentParser:
    """Build a parser of the flags of a model, and of others by their titles."""
    parser = Parser(prog=prog, description=description, usage=usage, allow_abbrev=False)
    for title, flags in {ModelOptions.TITLE: model_flags, **groups}.items():
        add_flags(parser.add_argument_group(title), flags)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read a command line.

    Returns:
        The values by the names of the flags, and what is wrong with flags that lack their values, and with
        words that no flag takes.

    Raises:
        SystemExit: The help was asked for, and printed.
    """
    faults = find_faults(parser, arguments)
    parsed, unknown = parser.parse_known_args(faults.without(arguments))
    values = vars(parsed)
    told = explain_unknown(unknown, [f"--{name}" for name in values]) if unknown else []
    return values, [*faults.problems, *told]


def view(values: Mapping[str, Any], group: type[Group]) -> Group:
    """View values as a group of options."""
    return PipelineOptions(flags=[], **values).view_as(group)
