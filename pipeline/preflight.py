"""Everything that can be wrong, checked before it costs: in seconds, on the launching machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apache_beam.options.pipeline_options import PipelineOptions

from options import SourceOptions
from pipeline.local import is_local
from pipeline.local_streaming import id_label_problem
from pipeline.make_predictor import make_predictor
from pipeline.preflight_outputs import output_problems
from pipeline.preflight_pubsub import missing_subscription, missing_topic
from transforms import storage
from transforms.errors import ItemError, ModelError, OutputsUnknown, ParseError, ReadError, UsageError
from transforms.predictors.base import Predictor
from transforms.records import Prediction
from transforms.schemas import arrow_schema
from transforms.sources.from_inputs import list_files


def check(options: PipelineOptions) -> Predictor:
    """Check the model, the inputs and the outputs.

    Returns:
        The predictor that the options ask for.

    Raises:
        UsageError: It holds all that is wrong.
    """
    of_source = list(input_problems(options))
    predictor, problems = find_predictor(options, has_files=lambda: not of_source)
    problems += of_source
    problems += _runner(options)
    problems += output_problems(options, lambda: predictor.signature if predictor else None)
    if problems or predictor is None:
        raise UsageError(problems)
    return predictor


def model(options: PipelineOptions) -> Predictor:
    """Check the model alone.

    Raises:
        UsageError: It cannot be used as the options say.
    """
    predictor, problems = find_predictor(options, has_files=lambda: True)
    if predictor is None:
        raise UsageError(problems)
    return predictor


def find_predictor(
    options: PipelineOptions, has_files: Callable[[], bool]
) -> tuple[Predictor | None, list[str]]:
    """Make the predictor that the options ask for, or tell what is wrong with the model or the endpoint.

    Args:
        options: Those of the job.
        has_files: Tells whether there are inputs that an endpoint can be asked about. Where there are none,
            that is what is wrong, and it is told with the inputs.
    """
    try:
        predictor = make_predictor(options)
        arrow_schema(Prediction, predictor.signature)
    except OutputsUnknown as error:
        return None, [str(error)] if has_files() else []
    except ModelError as error:
        return None, [str(error)]
    return predictor, []


def input_problems(options: PipelineOptions) -> Iterator[str]:
    """Tell what is wrong with the inputs."""
    source = options.view_as(SourceOptions)
    if source.input_subscription:
        yield from missing_subscription(source.input_subscription)
    elif source.input_topic:
        yield from missing_topic("--input_topic", source.input_topic)
    elif source.watch is not None:
        yield from _watched(source)
    else:
        yield from _inputs(source)


def _runner(options: PipelineOptions) -> Iterator[str]:
    """Tell of what the runner cannot do."""
    problem = id_label_problem(options.view_as(SourceOptions).id_label) if is_local(options) else None
    if problem is not None:
        yield problem


def _inputs(source: SourceOptions) -> Iterator[str]:
    """See that each input names at least one file or line; what is wrong with others is theirs to pay for."""
    for named in source.input:
        try:
            first = next(list_files(named), None)
        except ReadError as error:
            first = error
        if isinstance(first, ItemError) and not isinstance(first, ParseError):
            yield f"--input {named}: {first}"


def _watched(source: SourceOptions) -> Iterator[str]:
    """See that each place can be listed; there may be nothing yet."""
    for pattern in source.input:
        try:
            next(storage.glob(pattern), None)
        except ReadError as error:
            yield f"--input {pattern}: {error}"
