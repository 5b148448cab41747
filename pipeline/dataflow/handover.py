"""Whether Dataflow has taken a job, where the answer to its submission is not known."""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.dataflow.api import NoCredentials, RunningJob, find_credentials, running_jobs
from pipeline.exit_codes import Ended

SECONDS_TO_APPEAR = 8.0
"""How long after the request a job may first be in the list."""

POLL_SECONDS = 1.0
NO_JOB = "no job was started"
_REQUEST, _UPLOAD = "submit_job_description", "stage_file"  # functions of Beam's


class MayRun(Ended):
    """The command ends, and a job goes on, or may go on, that is not waited for."""


@dataclass(frozen=True)
class Fate:
    """What became of a job.

    Attributes:
        told: It, for the user, with what can be done.
        may_run: Whether it goes on, or may.
    """

    told: str
    may_run: bool

    def ended(self, why: str, code: int) -> Ended:
        """Make the ending of the command."""
        kind = MayRun if self.may_run else Ended
        return kind(f"{why}{self.told}", code)


def was_sent(error: BaseException) -> bool:
    """Tell whether an error was raised while Dataflow was asked to take the job."""
    return _was_in(_REQUEST, error)


def was_staging(error: BaseException) -> bool:
    """Tell whether an error was raised while files of the job were copied."""
    return _was_in(_UPLOAD, error)


def _was_in(function: str, error: BaseException) -> bool:
    return any(frame.f_code.co_name == function for frame, _ in traceback.walk_tb(error.__traceback__))


def fate(cloud: GoogleCloudOptions, known: Collection[str], seconds: float) -> Fate:
    """Ask for a job of the name.

    Args:
        cloud: Says which, and where.
        known: The ids of jobs of that name that ran before.
        seconds: How long it may take to appear; 0 where it is there by now, or never will be.
    """
    from pipeline.dataflow.service_errors import ERRORS, reason

    try:
        job = next(_looks(cloud, known, seconds), None)
    except KeyboardInterrupt:
        return _unknown(cloud, "Dataflow may have taken the job")
    except (*ERRORS, NoCredentials) as error:
        return _unknown(cloud, f"Dataflow may have taken the job, but cannot be asked ({reason(error)})")
    if job is not None:
        return Fate(
            f"Dataflow has taken the job {job.name}, {job.job_id}, which goes on; "
            f"`{cancel(job.job_id, cloud)}` ends it",
            may_run=True,
        )
    return _unknown(cloud, "Dataflow knows no such job yet") if seconds else Fate(NO_JOB, may_run=False)


def _looks(cloud: GoogleCloudOptions, known: Collection[str], seconds: float) -> Iterator[RunningJob]:
    """Yield the job as soon as it is there."""
    credentials, until = find_credentials(cloud), time.monotonic() + seconds
    while True:
        for job in running_jobs(cloud, credentials):
            if job.name == cloud.job_name and job.job_id not in known:
                yield job
        if time.monotonic() >= until:
            return
        time.sleep(POLL_SECONDS)


def _unknown(cloud: GoogleCloudOptions, what: str) -> Fate:
    return Fate(
        f"{what}: `gcloud dataflow jobs list --filter=name={cloud.job_name} --status=active "
        f"--project={cloud.project} --region={cloud.region}` tells whether {cloud.job_name} runs, and "
        f"`{cancel('JOB_ID', cloud)}` ends it",
        may_run=True,
    )


def cancel(job_id: str, cloud: GoogleCloudOptions) -> str:
    """Return the command that ends a job."""
    return f"gcloud dataflow jobs cancel {job_id} --project={cloud.project} --region={cloud.region}"
