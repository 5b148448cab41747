"""Everything that can be wrong, checked before it costs: in seconds, on the launching machine."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Iterator

from apache_beam.options.pipeline_options import PipelineOptions

from options import SinkOptions, SourceOptions
from pipeline.job import make_predictor
from transforms import storage
from transforms.errors import ItemError, ModelError, ParseError, ReadError, UsageError
from transforms.predictors.base import Predictor
from transforms.records import Prediction
from transforms.schemas import arrow_schema
from transforms.sinks.to_files import written_files
from transforms.sources.from_inputs import list_files


def check(options: PipelineOptions) -> Predictor:
    """Check the model, the inputs and the outputs.

    Returns:
        The predictor that the options ask for.

    Raises:
        UsageError: It holds all that is wrong.
    """
    predictor, problems = _model(options)
    problems += _inputs(options.view_as(SourceOptions))
    problems += _outputs(options.view_as(SinkOptions))
    if problems or predictor is None:
        raise UsageError(problems)
    return predictor


def _model(options: PipelineOptions) -> tuple[Predictor | None, list[str]]:
    try:
        predictor = make_predictor(options)
        arrow_schema(Prediction, predictor.signature)
    except ModelError as error:
        return None, [str(error)]
    return predictor, []


def _inputs(source: SourceOptions) -> Iterator[str]:
    """See that each input names at least one file or line; what is wrong with others is theirs to pay for."""
    for named in source.input:
        try:
            first = next(list_files(named), None)
        except ReadError as error:
            first = error
        if isinstance(first, ItemError) and not isinstance(first, ParseError):
            yield f"--input {named}: {first}"


def _outputs(sink: SinkOptions) -> Iterator[str]:
    prefixes = {"--output": sink.predictions_prefix, "--dead_letters": sink.dead_letters_prefix}
    if not sink.dead_letters:
        yield from _not_writable("--output", sink.predictions_prefix)
    else:
        for flag, prefix in prefixes.items():
            yield from _not_writable(flag, prefix)
    earlier = [uri for prefix in prefixes.values() for uri in _earlier(prefix)] + _earlier_summary(sink)
    if earlier and not sink.overwrite:
        yield (
            f"--output: an earlier run has left {', '.join(earlier)}; give another folder, or pass "
            "--overwrite to delete what it left"
        )


def _not_writable(flag: str, prefix: str) -> Iterator[str]:
    probe = f"{prefix}-{uuid.uuid4().hex}.probe"
    try:
        storage.create(probe).close()
        storage.delete(probe)
    except Exception as error:  # each file system raises its own
        yield f"{flag}: {prefix}-* cannot be written ({error}); give a folder that you may write to"


def _earlier(prefix: str) -> list[str]:
    """Name one of the files that an earlier run wrote, if there are any."""
    with contextlib.suppress(Exception):  # what cannot be listed is told by _not_writable
        return list(itertools.islice(written_files(prefix), 1))
    return []


def _earlier_summary(sink: SinkOptions) -> list[str]:
    with contextlib.suppress(Exception):
        return [sink.summary_file] if storage.exists(sink.summary_file) else []
    return []
