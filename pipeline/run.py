"""From flags to predictions: options, preflight, graph, runner, summary."""

from __future__ import annotations

import time
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from options import SinkOptions, SourceOptions, parse
from pipeline import preflight
from pipeline.exit_codes import DONE, FAILED, TOO_MANY_DEAD_LETTERS
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.local import is_local, local_runner, shown_progress
from pipeline.local_streaming import run_until_stopped
from pipeline.prepare import prepare_outputs
from pipeline.summary import Summary
from transforms.predictors.base import Predictor


def predict(arguments: Sequence[str], prog: str = "beam-predict") -> int:
    """Run the pipeline that a command line asks for, and print its summary.

    A streaming job on this machine goes on until it is interrupted; one on another runner is left to it.

    Returns:
        The exit code: `DONE`, `FAILED` or `TOO_MANY_DEAD_LETTERS`.

    Raises:
        UsageError: The flags are wrong, or a check before the start failed.
    """
    start = time.monotonic()
    options = parse(arguments, prog)
    predictor = preflight.check(options)
    sink = options.view_as(SinkOptions)
    prepare_outputs(options, predictor.signature)
    result = _run(options, predictor)
    if result is None:
        return DONE
    summary = Summary.of(result, predictor, seconds=time.monotonic() - start, sink=sink)
    if sink.summary_file:
        summary.write(sink.summary_file)
    print(summary)
    return exit_code(summary, sink.max_dead_letter_ratio)


def exit_code(summary: Summary, max_dead_letter_ratio: float) -> int:
    """Tell by its summary how a run ended."""
    if summary.unaccounted:
        return FAILED
    return TOO_MANY_DEAD_LETTERS if summary.dead_letter_ratio > max_dead_letter_ratio else DONE


def _run(options: PipelineOptions, predictor: Predictor) -> PipelineResult | None:
    """Return the result of a run that has ended; None where it goes on without this process."""
    local, streaming = is_local(options), options.view_as(SourceOptions).is_streaming
    if local and streaming:
        with shown_progress():
            return run_until_stopped(
                options, lambda pipeline: build(pipeline, make_steps(options, predictor))
            )
    pipeline = beam.Pipeline(runner=local_runner(options) if local else None, options=options)
    build(pipeline, make_steps(options, predictor))
    if streaming:
        print(f"started {_job(pipeline.run())}; it goes on until it is drained or cancelled")
        return None
    with shown_progress(local):
        result = pipeline.run()
        result.wait_until_finish()
    return result


def _job(result: PipelineResult) -> str:
    job_id = getattr(result, "job_id", None)
    return f"job {job_id()}" if callable(job_id) else "the job"
