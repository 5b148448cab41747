"""A job on Dataflow, from its submission to its end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult

from options import DataflowOptions, SourceOptions
from pipeline import consequence
from pipeline.counts import Counts
from pipeline.dataflow.handover import MayRun
from pipeline.dataflow.submission import short_logs, submit
from pipeline.exit_codes import Ended
from pipeline.prepare import NotDeleted, delete_earlier
from transforms import metric_table as metrics


def run_on_dataflow(
    options: PipelineOptions, build: Callable[[beam.Pipeline], None], earlier: Sequence[str]
) -> tuple[PipelineResult | None, bool]:
    """Submit a job, then delete what it replaces; in batch, wait for its end, unless `--no_wait` is given.

    Args:
        options: Those of the job.
        build: Adds the steps to the pipeline.
        earlier: The files to delete when Dataflow has accepted the job, and not before: what an earlier run
            has left outlives a job that is refused.

    Returns:
        What it has come to, None where it goes on without this process; and whether all files are deleted.

    Raises:
        Ended: Dataflow does not take the job, or it failed.
        KeyboardInterrupt: Its user no longer waits for it.
    """
    cloud = options.view_as(GoogleCloudOptions)
    try:
        job = submit(options, build)
    except MayRun as ended:
        if not earlier:
            raise
        raise MayRun(f"{ended}\n{NotDeleted(earlier, 'the job writes beside them')}", ended.code) from ended
    if job is None:
        _tell_what_is_kept(earlier)
        return None, True
    replaced = _replace(earlier, job.job_id())
    if options.view_as(SourceOptions).is_streaming:
        print("it goes on until it is drained or cancelled")
        return None, replaced
    if options.view_as(DataflowOptions).no_wait:
        return None, replaced
    from pipeline.dataflow.waiting import wait

    wait(job.job_id(), cloud, lambda: _progress(job))
    consequence.from_now_on(f"job {job.job_id()} is done, but no summary was made")
    return job, replaced


@contextlib.contextmanager
def numbers_of_job() -> Iterator[None]:
    """Ask a job that has ended for its numbers.

    Raises:
        Ended: Dataflow does not tell them.
    """
    from pipeline.dataflow.service_errors import ERRORS, reason

    try:
        with short_logs():
            yield
    except ERRORS as error:
        raise Ended(
            f"the job is done, but Dataflow does not tell its numbers ({reason(error)}); no summary was "
            "made, and the job's page has them"
        ) from error


def _tell_what_is_kept(earlier: Sequence[str]) -> None:
    """Tell of files that a template's job would be mixed with: it starts later, and perhaps never."""
    if earlier:
        print(f"{NotDeleted(earlier, 'a template replaces nothing; its jobs add to them')}", file=sys.stderr)


def _replace(earlier: Sequence[str], job_id: str) -> bool:
    try:
        delete_earlier(earlier)
    except NotDeleted as error:
        print(f"{error}\njob {job_id} goes on, and writes beside them", file=sys.stderr, flush=True)
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        return False
    return True


def _progress(job: Any) -> str | None:
    try:
        with short_logs():
            counts = Counts.of(job)
    except Exception:  # it is only nice to know, and is asked for again
        return None
    inputs, predicted = counts.get(metrics.INPUTS), counts.get(metrics.PREDICTIONS)
    dead = sum(counts.below(metrics.DEAD_LETTERS).values())
    return f"{predicted:,} of {inputs:,} inputs predicted, {dead:,} dead letters" if inputs else None
