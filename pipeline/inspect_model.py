"""`beam-predict inspect`: what a model is, how the pipeline would use it, and what it would write.

Nothing is predicted; a SavedModel is not even loaded, and read without TensorFlow.
"""

from __future__ import annotations

import argparse
import copy
import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, NoReturn, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions

from options import ModelOptions, PostprocessingOptions
from options.flags import Flag, FlagGroup, add_flags
from pipeline.inspection import Inspection, Use, VersionFolder
from pipeline.job import make_predictor
from transforms import storage
from transforms.errors import ModelError, ReadError, UsageError
from transforms.predictors.base import Predictor, Signature
from transforms.predictors.functions import Chain
from transforms.predictors.images import MAX_PIXELS, ImagePreparation, Preprocessing
from transforms.predictors.local import LocalPredictor
from transforms.predictors.saved_model_files import fingerprint, read_signatures
from transforms.predictors.versions import choose_version, find_versions
from transforms.records import Prediction
from transforms.schemas import Record, arrow_schema, bigquery_schema

DONE = 0

_GROUPS: tuple[type[FlagGroup], ...] = (ModelOptions, PostprocessingOptions)
"""The flags that change how a model is used, or what is written of it."""

_JSON = Flag("json", "Print one JSON object, whose members docs/models.md lists.")

_SAVED_MODEL = "SavedModel"
_KINDS_OF_FILES = {
    ".keras": "Keras file",
    ".h5": "Keras file",
    ".hdf5": "Keras file",
    ".tflite": "TensorFlow Lite file",
}

Made = TypeVar("Made")


def main(arguments: Sequence[str]) -> int:
    """Inspect the model that a command line names, and print what it is.

    Returns:
        The exit code: 0 when the model could be read, whether or not the pipeline could use it.

    Raises:
        UsageError: The flags are wrong, or the model cannot be read.
        SystemExit: The help was asked for, and printed.
    """
    as_json = vars(_parser().parse_args(arguments))[_JSON.name]
    options = PipelineOptions([word for word in arguments if word != f"--{_JSON.name}"])
    every: tuple[Any, ...] = _GROUPS
    problems = [problem for group in every for problem in options.view_as(group).validate()]
    if problems:
        raise UsageError(problems)
    try:
        inspection = inspect_model(options)
    except (ModelError, ReadError) as error:
        raise UsageError([str(error)]) from error
    print(inspection.to_json() if as_json else inspection)
    return DONE


def inspect_model(options: PipelineOptions) -> Inspection:
    """Read what a model says of itself, and try how it could be used.

    Args:
        options: Those of the model, and of what is done to its outputs.

    Raises:
        ModelError: The model cannot be read.
        ReadError: Its files cannot be listed.
    """
    model = options.view_as(ModelOptions)
    chosen = choose_version(model.model, getattr(model, "model_version", None))
    versions = find_versions(model.model) if chosen else []
    path = chosen.path if chosen else model.model
    attempts = _Attempts()
    predictor = attempts.make("use", lambda: make_predictor(_reading(path, options)))
    signatures, content = _content(path, predictor, attempts)
    signature = predictor.signature if predictor else signatures.get(model.signature)
    sizes = _sizes(path)
    return Inspection(
        model=model.model,
        kind=_kind(path),
        versions=tuple(VersionFolder(found.number, found.incompleteness()) for found in reversed(versions)),
        path=path,
        version=str(chosen.number) if chosen else content,
        fingerprint=content,
        size_bytes=sum(sizes),
        files=len(sizes),
        signatures=tuple(signatures.values()),
        use=_use(predictor) if predictor else None,
        arrow_schema=attempts.schema("arrow_schema", arrow_schema, signature),
        bigquery_schema=attempts.schema("bigquery_schema", bigquery_schema, signature),
        problems=attempts.problems,
    )


@dataclass
class _Attempts:
    """What is tried, and why it cannot be."""

    problems: dict[str, str] = field(default_factory=dict)

    def make(self, name: str, function: Callable[[], Made]) -> Made | None:
        """Return what a function makes; where it cannot, keep the reason under a name."""
        try:
            return function()
        except ModelError as error:
            self.problems[name] = str(error)
            return None

    def schema(
        self, name: str, derive: Callable[[type[Record], Signature], Made], signature: Signature | None
    ) -> Made | None:
        """Return the schema of the predictions with a signature, where there is one."""
        return None if signature is None else self.make(name, lambda: derive(Prediction, signature))


def _kind(model: str) -> str:
    return _KINDS_OF_FILES.get(PurePosixPath(model).suffix.lower(), _SAVED_MODEL)


def _reading(path: str, options: PipelineOptions) -> PipelineOptions:
    """Copy options, and let them name another model."""
    others = copy.deepcopy(options)
    others.view_as(ModelOptions).model = path
    return others


def _content(
    path: str, predictor: Predictor | None, attempts: _Attempts
) -> tuple[Mapping[str, Signature], str]:
    """Return the signatures in a model, and its fingerprint."""
    if _kind(path) == _SAVED_MODEL:
        return read_signatures(path), fingerprint(path)
    if predictor is None:
        raise ModelError(attempts.problems["use"])
    signature = _local(predictor).signature
    return {signature.name: signature}, predictor.model_version


def _sizes(path: str) -> list[int]:
    files = (
        [storage.stat(path)]
        if _kind(path) != _SAVED_MODEL
        else storage.glob(storage.join(glob.escape(path), "**"))
    )
    return [file.size or 0 for file in files]


def _use(predictor: Predictor) -> Use:
    local = _local(predictor)
    function, feed = local.function, local.feed
    return Use(
        signature=local.signature.name,
        input_kind=feed.kind,
        item_input=feed.item.name,
        preprocess_signature=function.first.signature.name if isinstance(function, Chain) else None,
        preprocess=describe(feed.decoder.how) if isinstance(feed.decoder, ImagePreparation) else None,
        attribute_inputs=tuple(spec.name for spec in feed.attributes),
        constants={constant.spec.name: constant.value.tolist() for constant in feed.constants},
    )


def _local(predictor: Any) -> LocalPredictor:
    """Find the predictor that runs the model, behind those that change its outputs."""
    while not isinstance(predictor, LocalPredictor):
        predictor = predictor.predictor
    return predictor


def describe(how: Preprocessing) -> str:
    """Write a preprocessing as `Preprocessing.parse` reads it."""
    parts = {field.name: getattr(how, field.name) for field in fields(how)} | {"scale": how.effective_scale}
    if how.max_pixels == MAX_PIXELS:
        del parts["max_pixels"]
    return ",".join(f"{name}={_part(value)}" for name, value in parts.items() if value)


def _part(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    whole = all(isinstance(number, int) for number in value)
    return ("x" if whole else "/").join(map(str, value))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError([message])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="beam-predict inspect",
        description="Tell what a model is, how the pipeline would use it, and what it would write.",
        usage="%(prog)s --model FOLDER [flags]",
        allow_abbrev=False,
    )
    for group in _GROUPS:
        add_flags(parser.add_argument_group(group.TITLE), group.FLAGS)
    add_flags(parser.add_argument_group("Output"), [_JSON])
    return parser
