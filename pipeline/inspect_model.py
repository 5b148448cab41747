"""`beam-predict inspect`: what a model is, how the pipeline would use it, and what it would write.

Nothing is predicted; a SavedModel is not even loaded, and read without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from options import ModelOptions, PostprocessingOptions
from options.flags import Flag
from pipeline.exit_codes import DONE
from pipeline.inspection import Inspection, Use, VersionFolder
from pipeline.make_predictor import make_readable, make_wishes
from pipeline.model_command import choose_model, make_parser, parse, view
from transforms.errors import ModelError, ReadError, UsageError
from transforms.predictors.base import Predictor, Signature
from transforms.predictors.completeness import SAVED_MODEL
from transforms.predictors.functions import Chain
from transforms.predictors.images import ImagePreparation
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import KINDS, FoundModel, open_model
from transforms.predictors.saved_model_files import read_signatures
from transforms.predictors.versions import find_versions
from transforms.records import Prediction
from transforms.schemas import Record, arrow_schema, bigquery_schema

_JSON = Flag("json", "Print one JSON object, whose members docs/models.md lists.")

Made = TypeVar("Made")


def main(arguments: Sequence[str]) -> int:
    """Inspect the model that a command line names, and print what it is.

    Returns:
        The exit code: 0 when the model could be read, whether or not the pipeline could use it.

    Raises:
        UsageError: The flags are wrong, or the model cannot be read.
        SystemExit: The help was asked for, and printed.
    """
    parser = make_parser(
        prog="beam-predict inspect",
        description="Tell what a model is, how the pipeline would use it, and what it would write.",
        usage="%(prog)s --model PATH [flags]",
        groups={PostprocessingOptions.TITLE: PostprocessingOptions.FLAGS, "Output": [_JSON]},
    )
    values, problems = parse(parser, arguments)
    model, readable = view(values, ModelOptions), view(values, PostprocessingOptions)
    problems += model.validate() + readable.validate()
    if problems:
        raise UsageError(problems)
    try:
        inspection = inspect_model(model, readable)
    except (ModelError, ReadError) as error:
        raise UsageError([str(error)]) from error
    print(inspection.to_json() if values[_JSON.name] else inspection)
    return DONE


def inspect_model(model: ModelOptions, readable: PostprocessingOptions) -> Inspection:
    """Read what a model says of itself, and try how it could be used.

    Args:
        model: Which model, and how it is fed.
        readable: What is added to its outputs.

    Raises:
        ModelError: The model cannot be read.
        ReadError: Its files cannot be listed.
    """
    chosen = choose_model(model)
    found, version = chosen.found, chosen.version
    versions = find_versions(model.model) if version else []
    attempts = _Attempts()
    opened = attempts.make("use", lambda: _open(found, model, readable))
    signatures = _signatures(found, model.signature, opened)
    signature = opened.finished.signature if opened else signatures.get(model.signature)
    content, sizes = found.fingerprint(), chosen.file_sizes()
    return Inspection(
        model=model.model,
        kind=found.kind.title,
        versions=tuple(VersionFolder(each.number, each.incompleteness()) for each in reversed(versions)),
        path=found.path,
        version=str(version.number) if version else content,
        fingerprint=content,
        size_bytes=sum(sizes),
        files=len(sizes),
        signatures=tuple(signatures.values()),
        use=_use(opened.local) if opened else None,
        arrow_schema=attempts.schema("arrow_schema", arrow_schema, signature),
        bigquery_schema=attempts.schema("bigquery_schema", bigquery_schema, signature),
        problems=attempts.problems,
    )


@dataclass(frozen=True)
class _Opened:
    """A model as the pipeline would use it.

    Attributes:
        local: Runs the model.
        finished: Adds to its outputs what the options ask for.
    """

    local: LocalPredictor
    finished: Predictor


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


def _open(found: FoundModel, model: ModelOptions, readable: PostprocessingOptions) -> _Opened:
    local = open_model(found.path, model.signature, make_wishes(model))
    return _Opened(local, make_readable(readable)(local))


def _signatures(found: FoundModel, name: str, opened: _Opened | None) -> Mapping[str, Signature]:
    """Return all signatures of a SavedModel; of a file, which does not list them, the one of that name."""
    if found.kind is KINDS[SAVED_MODEL]:
        return read_signatures(found.path)
    return {name: opened.local.signature if opened else found.function(name).signature}


def _use(local: LocalPredictor) -> Use:
    function, feed = local.function, local.feed
    return Use(
        signature=local.signature.name,
        input_kind=feed.kind,
        item_input=feed.item.name,
        preprocess_signature=function.first.signature.name if isinstance(function, Chain) else None,
        preprocess=str(feed.decoder.how) if isinstance(feed.decoder, ImagePreparation) else None,
        attribute_inputs=tuple(spec.name for spec in feed.attributes),
        constants={constant.spec.name: constant.value.tolist() for constant in feed.constants},
    )
