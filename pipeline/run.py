"""From flags to predictions: options, preflight, graph, runner, summary."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult

from options import DataflowOptions, SinkOptions, SourceOptions
from options.checks import is_on_dataflow
from options.parsing import CommandLine, read
from pipeline import consequence, preflight
from pipeline.consequence import INCOMPLETE, NO_SUMMARY, NOTHING_STARTED
from pipeline.dataflow import preflight as preflight_dataflow
from pipeline.dataflow.buckets import missing_buckets
from pipeline.dataflow.names import form_problems
from pipeline.dataflow.running import numbers_of_job, run_on_dataflow
from pipeline.exit_codes import DONE, FAILED, INTERRUPTED, TOO_MANY_DEAD_LETTERS, Ended
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.local import is_local, local_runner, shown_progress
from pipeline.local_streaming import run_until_stopped
from pipeline.prepare import NotDeleted, delete_earlier, prepare_outputs
from pipeline.summary import Summary
from transforms.errors import UsageError
from transforms.predictors.base import Predictor


def predict(arguments: Sequence[str], prog: str = "beam-predict") -> int:
    """Run the pipeline that a command line asks for, and print its summary.

    A streaming job on this machine goes on until it is interrupted; one on another runner is left to it.

    Returns:
        The exit code: `DONE`, `FAILED` or `TOO_MANY_DEAD_LETTERS`. It is `FAILED` too where an output is
        mixed with that of an earlier run, which `--overwrite` was to delete.

    Raises:
        UsageError: The flags are wrong, or a check before the start failed.
    """
    start = time.monotonic()
    line = read(arguments, prog)
    options, predictor = line.options, check(line)
    result, replaced = _run(options, predictor, prepare_outputs(options, predictor.signature))
    code = DONE if result is None else _sum_up(result, options, predictor, start)
    return code if replaced else FAILED


def _sum_up(result: PipelineResult, options: PipelineOptions, predictor: Predictor, start: float) -> int:
    sink = options.view_as(SinkOptions)
    with numbers_of_job() if is_on_dataflow(options) else contextlib.nullcontext():
        summary = Summary.of(result, predictor, seconds=time.monotonic() - start, sink=sink)
    if sink.summary_file:
        summary.write(sink.summary_file)
    print(summary)
    return exit_code(summary, sink.max_dead_letter_ratio)


def check(line: CommandLine) -> Predictor:
    """Check what can be checked before the start, and return the predictor that the flags ask for.

    Raises:
        UsageError: It holds all that is wrong.
    """
    skipped = line.options.view_as(DataflowOptions).skip_preflight
    if is_on_dataflow(line.options) and not skipped:
        report = preflight_dataflow.inspect(line)
        if report.predictor is None or report.problems:
            raise UsageError(report.reasons)
        report.tell_open()
        return report.predictor
    cloud = line.options.view_as(GoogleCloudOptions)
    malformed = form_problems(cloud) if is_on_dataflow(line.options) else ()
    if wrong := [*line.unusable, *line.contradictory, *malformed]:
        raise UsageError(wrong)
    if is_on_dataflow(line.options) and (missing := list(missing_buckets(cloud))):
        raise UsageError(missing)
    return preflight.model(line.options) if skipped else preflight.check(line.options)


def exit_code(summary: Summary, max_dead_letter_ratio: float) -> int:
    """Tell by its summary how a run ended."""
    if summary.unaccounted:
        return FAILED
    return TOO_MANY_DEAD_LETTERS if summary.dead_letter_ratio > max_dead_letter_ratio else DONE


def _run(
    options: PipelineOptions, predictor: Predictor, earlier: Sequence[str]
) -> tuple[PipelineResult | None, bool]:
    """Run the pipeline in the place of an earlier run, whose files are deleted.

    Returns:
        The result of a run that has ended, None where it goes on without this process; and whether the files
        are deleted.
    """

    def add_steps(pipeline: beam.Pipeline) -> None:
        build(pipeline, make_steps(options, predictor))

    if is_on_dataflow(options):
        return run_on_dataflow(options, add_steps, earlier)
    if earlier:
        consequence.from_now_on(f"{NOTHING_STARTED}, but what an earlier run has left is deleted")
    try:
        delete_earlier(earlier)
    except NotDeleted as error:
        code = INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else FAILED
        raise Ended(f"nothing was started. {error}", code) from error
    result = _run_elsewhere(options, add_steps)
    consequence.from_now_on(NO_SUMMARY)
    return result, True


def _run_elsewhere(
    options: PipelineOptions, add_steps: Callable[[beam.Pipeline], None]
) -> PipelineResult | None:
    local, streaming = is_local(options), options.view_as(SourceOptions).is_streaming
    if local and streaming:
        consequence.from_now_on(INCOMPLETE)
        with shown_progress():
            return run_until_stopped(options, add_steps)
    pipeline = beam.Pipeline(runner=local_runner(options) if local else None, options=options)
    add_steps(pipeline)
    consequence.from_now_on(INCOMPLETE)
    if streaming:
        pipeline.run()
        print("started the job; it goes on until it is drained or cancelled")
        return None
    with shown_progress(local):
        result = pipeline.run()
        result.wait_until_finish()
    return result
