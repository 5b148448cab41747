"""Handing a job to Dataflow."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions

from pipeline import consequence
from pipeline.dataflow import handover
from pipeline.dataflow.api import NoCredentials, find_credentials, running_jobs
from pipeline.dataflow.handover import NO_JOB, cancel, fate, was_sent, was_staging
from pipeline.dataflow.job_messages import in_one_line, without_request
from pipeline.dataflow.service import OTHER_NAME
from pipeline.exit_codes import FAILED, INTERRUPTED, Ended

_CONSOLE = "https://console.cloud.google.com/dataflow/jobs"
_REMEDIES = {
    400: "what it says is wrong with the job must be changed",
    401: "run `gcloud auth application-default login`",
    403: "ask for roles/dataflow.developer, and for roles/iam.serviceAccountUser on the workers' account; "
    "`gcloud services enable dataflow.googleapis.com` enables the API",
    404: "check --project and --region",
    409: OTHER_NAME,
    429: "the quota is used up; try again later",
}
_BEAMS_OWN_CHECKS = "Pipeline has validations errors"
_REFUSING = (  # modules of Beam's that look at flags, and raise what their users read
    "apache_beam.options.",
    "apache_beam.runners.dataflow.",
    "apache_beam.runners.portability.stager",
    "apache_beam.utils.processes",
)
_ARGUMENTS_OF_A_RETRY = 4  # seconds, function, error, traceback
_LATER = "Dataflow is not available; try again later"
_TOLD_OTHERWISE = (
    "apache_beam.runners.dataflow.internal.apiclient",
    "apache_beam.runners.dataflow.dataflow_runner",
)


def submit(options: PipelineOptions, build: Callable[[beam.Pipeline], None]) -> Any | None:
    """Hand a pipeline to Dataflow.

    Args:
        options: Those of the job.
        build: Adds the steps to the pipeline.

    Returns:
        Beam's `DataflowPipelineResult` of a job that was accepted; None where no job is asked for, but the
        description of one in `--template_location`.

    Raises:
        MayRun: The answer is not known, or its user does not wait for it, and the job may go on.
        Ended: Dataflow does not take the job.
    """
    cloud = options.view_as(GoogleCloudOptions)
    with short_logs():
        with _plain_errors(cloud):
            replaced = _jobs_to_replace(cloud)
            if importlib.util.find_spec("pip") is None:  # with which Beam would list what is installed here
                options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")
            cloud.job_name = cloud.job_name or _default_name()  # else Beam has one that it tells nobody
            pipeline = beam.Pipeline(options=options)
        build(pipeline)
        with _plain_errors(cloud, replaced), _plain_interruption(cloud, replaced):
            return _hand_over(pipeline, cloud)


def _hand_over(pipeline: beam.Pipeline, cloud: GoogleCloudOptions) -> Any | None:
    result: Any = pipeline.run()
    if not result.has_job:
        print(f"the template is {cloud.template_location}", flush=True)
        return None
    job_id = result.job_id()
    consequence.from_now_on(
        f"no longer waiting for job {job_id}, which goes on; `{cancel(job_id, cloud)}` ends it"
    )
    print(_started(job_id, cloud), flush=True)
    return result


def _default_name() -> str:
    from apache_beam.runners.dataflow.internal.apiclient import Job

    return str(Job.default_job_name(None))


def _jobs_to_replace(cloud: GoogleCloudOptions) -> list[str]:
    """Find the job to replace: where there is none, Beam asks for it for ever."""
    if not cloud.update:
        return []
    named = [job for job in running_jobs(cloud, find_credentials(cloud)) if job.name == cloud.job_name]
    if not named:
        raise Ended(f"--update: there is no job {cloud.job_name} in {cloud.region} to replace")
    return [job.job_id for job in named]


def _started(job_id: str, cloud: GoogleCloudOptions) -> str:
    url = f"{_CONSOLE}/{cloud.region}/{job_id}?project={cloud.project}"
    return f"started job {cloud.job_name}, {job_id}\n  {url}"


@contextlib.contextmanager
def _plain_errors(cloud: GoogleCloudOptions, replaced: Sequence[str] = ()) -> Iterator[None]:
    """Make of what Google's libraries and Beam raise what a person can act upon."""
    try:
        yield
    except Ended:
        raise
    except Exception as error:
        ended = _of_google(error, cloud, replaced) or _of_beam(error)
        if ended is None:
            raise
        raise ended from error


@contextlib.contextmanager
def _plain_interruption(cloud: GoogleCloudOptions, replaced: Sequence[str]) -> Iterator[None]:
    """Let Ctrl-C leave no job behind that nobody is told of."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if cloud.template_location or was_staging(interrupt):
            raise
        print("interrupted; asking Dataflow whether it has taken the job", file=sys.stderr, flush=True)
        seconds = handover.SECONDS_TO_APPEAR if was_sent(interrupt) else 0.0
        raise fate(cloud, replaced, seconds).ended("interrupted; ", INTERRUPTED) from interrupt


def _of_google(error: Exception, cloud: GoogleCloudOptions, replaced: Sequence[str]) -> Ended | None:
    from google.api_core.exceptions import GoogleAPICallError

    from pipeline.dataflow.service_errors import ERRORS, NETWORK, code, passes, reason, said

    if isinstance(error, NoCredentials):
        return Ended(f"{error}; {NO_JOB}")
    if was_staging(error) and isinstance(error, (OSError, *ERRORS)):
        place = cloud.staging_location or cloud.temp_location
        return Ended(f"the job's files cannot be copied to {place} ({reason(error)}); {NO_JOB}")
    if isinstance(error, GoogleAPICallError):
        remedy = _REMEDIES.get(code(error), _LATER)
        why = f"Dataflow refuses the job ({code(error)}): {said(error)}\n{remedy}"
    elif isinstance(error, ERRORS):
        why = f"{cloud.dataflow_endpoint} cannot be reached ({reason(error)}); {NETWORK}"
    elif isinstance(error, OSError):
        return Ended(f"{reason(error)}; {NO_JOB}")
    else:
        return None
    if was_sent(error) and passes(error):  # its answer may have been lost
        return fate(cloud, replaced, seconds=0).ended(f"{why}\n", FAILED)
    return Ended(why)


def _of_beam(error: Exception) -> Ended | None:
    """Make an ending of what Beam says of flags; None of an error that it does not mean for people."""
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError

    if isinstance(error, DataflowJobAlreadyExistsError):
        return Ended(f"{error}\n{_REMEDIES[409]}")
    if type(error) not in {ValueError, RuntimeError}:
        return None
    if str(error).startswith(_BEAMS_OWN_CHECKS):
        return Ended(str(error))
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    if not frame.f_globals["__name__"].startswith(_REFUSING):
        return None
    return Ended(f"Beam does not take the job: {in_one_line(str(error))}; {NO_JOB}")


@contextlib.contextmanager
def short_logs() -> Iterator[None]:
    """Let Beam log that it tries again without the traceback, and no error that is told anyway."""
    loggers = [logging.getLogger(name) for name in _TOLD_OTHERWISE]
    levels = [logger.level for logger in loggers]
    retries = logging.getLogger("apache_beam.utils.retry")
    retries.addFilter(_shorten)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        retries.removeFilter(_shorten)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _shorten(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple) and len(record.args) == _ARGUMENTS_OF_A_RETRY:
        seconds, what, error, _ = record.args
        record.msg, record.args = (
            "%s failed, and is tried again in %.0f s: %s",
            (what, seconds, without_request(str(error)).strip()),
        )
    return True
