"""From flags to predictions: options, preflight, graph, runner, summary."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from options import SinkOptions, parse
from pipeline import preflight
from pipeline.exit_codes import DONE, FAILED, TOO_MANY_DEAD_LETTERS
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.local import is_local, local_runner, shown_progress
from pipeline.summary import Summary
from transforms import storage
from transforms.predictors.base import Predictor
from transforms.sinks.to_files import incomplete_files, written_files


def predict(arguments: Sequence[str], prog: str = "beam-predict") -> int:
    """Run the pipeline that a command line asks for, and print its summary.

    Returns:
        The exit code: `DONE`, `FAILED` or `TOO_MANY_DEAD_LETTERS`.

    Raises:
        UsageError: The flags are wrong, or a check before the start failed.
    """
    start = time.monotonic()
    options = parse(arguments, prog)
    predictor = preflight.check(options)
    sink = options.view_as(SinkOptions)
    if sink.overwrite:
        _delete_earlier(sink)
    result = _run(options, predictor)
    summary = Summary.of(
        result,
        predictor,
        seconds=time.monotonic() - start,
        output=f"{sink.predictions_prefix}-*.{sink.output_format}",
        dead_letters_output=f"{sink.dead_letters_prefix}-*.{sink.output_format}",
    )
    summary.write(sink.summary_file)
    print(summary)
    return exit_code(summary, sink.max_dead_letter_ratio)


def exit_code(summary: Summary, max_dead_letter_ratio: float) -> int:
    """Tell by its summary how a run ended."""
    if summary.unaccounted:
        return FAILED
    return TOO_MANY_DEAD_LETTERS if summary.dead_letter_ratio > max_dead_letter_ratio else DONE


def _run(options: PipelineOptions, predictor: Predictor) -> PipelineResult:
    local = is_local(options)
    pipeline = beam.Pipeline(runner=local_runner(options) if local else None, options=options)
    build(pipeline, make_steps(options, predictor))
    with shown_progress() if local else contextlib.nullcontext():
        result = pipeline.run()
        result.wait_until_finish()
    return result


def _delete_earlier(sink: SinkOptions) -> None:
    for prefix in (sink.predictions_prefix, sink.dead_letters_prefix):
        for uri in [*written_files(prefix), *incomplete_files(prefix)]:
            storage.delete(uri)
    storage.delete(sink.summary_file)
