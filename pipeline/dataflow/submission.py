"""Handing a job to Dataflow."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions

from pipeline.dataflow.api import NoCredentials, find_credentials, running_jobs
from pipeline.exit_codes import Ended

_CONSOLE = "https://console.cloud.google.com/dataflow/jobs"
_REMEDIES = {
    400: "what it says is wrong with the job must be changed",
    401: "run `gcloud auth application-default login`",
    403: "ask for roles/dataflow.developer, and for roles/iam.serviceAccountUser on the workers' account; "
    "`gcloud services enable dataflow.googleapis.com` enables the API",
    404: "check --project and --region",
    409: "give another --job_name, or replace the job that runs with --update",
    429: "the quota is used up; try again later",
}
_BEAMS_OWN_CHECKS = "Pipeline has validations errors"
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
        Ended: Dataflow does not take the job.
    """
    cloud = options.view_as(GoogleCloudOptions)
    with _plain_errors(), short_logs():
        _see_that_it_runs(cloud)
        if importlib.util.find_spec("pip") is None:  # with which Beam would list what is installed here
            options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        result: Any = pipeline.run()
    if not result.has_job:
        print(f"the template is {cloud.template_location}", flush=True)
        return None
    print(_started(result.job_id(), cloud), flush=True)
    return result


def _see_that_it_runs(cloud: GoogleCloudOptions) -> None:
    """Find the job to replace: where there is none, Beam asks for it for ever."""
    if cloud.update and all(
        job.name != cloud.job_name for job in running_jobs(cloud, find_credentials(cloud))
    ):
        raise Ended(f"--update: there is no job {cloud.job_name} in {cloud.region} to replace")


def _started(job_id: str, cloud: GoogleCloudOptions) -> str:
    url = f"{_CONSOLE}/{cloud.region}/{job_id}?project={cloud.project}"
    return f"started job {cloud.job_name}, {job_id}\n  {url}"


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Make of what Google's libraries and Beam raise what a person can act upon."""
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError
    from google.api_core.exceptions import GoogleAPICallError

    try:
        yield
    except GoogleAPICallError as error:
        code = int(error.code or 0)
        raise Ended(f"Dataflow refuses the job ({code}): {error.message}\n{_remedy(code)}") from error
    except DataflowJobAlreadyExistsError as error:
        raise Ended(f"{error}\n{_remedy(409)}") from error
    except NoCredentials as error:
        raise Ended(str(error)) from error
    except ValueError as error:
        if not str(error).startswith(_BEAMS_OWN_CHECKS):
            raise
        raise Ended(str(error)) from error


def _remedy(code: int) -> str:
    return _REMEDIES.get(code, _LATER)


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
            (what, seconds, str(error).strip()),
        )
    return True
