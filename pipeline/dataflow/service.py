"""What Dataflow itself tells of a project and a region, when it is asked for the jobs that run there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.dataflow.api import RunningJob
from pipeline.dataflow.checklist import NotChecked
from pipeline.dataflow.names import REGIONS, region_problems, unknown_region

Jobs = Callable[[], Sequence[RunningJob]]
"""Lists the jobs that run, or raises what Google's libraries do, or `NotChecked`: there is nobody to ask."""


def region_problem_of(cloud: GoogleCloudOptions, jobs: Jobs) -> Iterable[str]:
    """Tell what is wrong with the region: of one that is not on our list by what Dataflow answers.

    Raises:
        NotChecked: It is not on our list, and nothing is known to be wrong with it.
    """
    from google.api_core import exceptions

    malformed = list(region_problems(cloud.region))
    unknown = list(unknown_region(cloud.region))
    if malformed or not unknown:
        return malformed
    unlisted = f"{cloud.region} is not in the list of regions that this version knows"
    try:
        jobs()
    except (NotChecked, exceptions.Forbidden):  # the latter is how a region that is none may be refused
        return unknown
    except (exceptions.BadRequest, exceptions.NotFound) as error:
        return [f"{unknown[0]} Dataflow answers: {_said(error)}"]
    except Exception as error:
        raise NotChecked(f"{unlisted}, and Dataflow does not answer for it") from error
    raise NotChecked(f"{unlisted}; Dataflow answered for it")


def service_problems(cloud: GoogleCloudOptions, jobs: Jobs) -> Iterator[str]:
    """Tell what Dataflow refuses, and what the jobs that run forbid.

    Raises:
        NotChecked: It cannot be asked, or refuses a region that is told already.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        running = {job.name: job.job_id for job in jobs()}
    except (exceptions.BadRequest, exceptions.NotFound) as error:
        if cloud.region not in REGIONS:
            raise NotChecked(f"it refuses --region {cloud.region}") from error
        yield (
            f"Dataflow refuses to list the jobs of --project {cloud.project} in --region {cloud.region} "
            f"({_said(error)}); check both"
        )
    except exceptions.Forbidden as error:
        yield (
            f"--project {cloud.project}: Dataflow refuses ({_said(error)}); check the name, enable the API "
            f"with `gcloud services enable dataflow.googleapis.com --project={cloud.project}`, and ask for "
            "roles/dataflow.developer"
        )
    except (exceptions.GoogleAPICallError, GoogleAuthError, RequestException) as error:
        reason = str(error).partition("\n")[0]
        yield f"{cloud.dataflow_endpoint} does not answer as it should ({reason}); try again later"
    else:
        yield from _names_in_use(cloud, running)


def _said(error: Any) -> str:
    """Return what Dataflow answered, without the request, which Google's library puts before it."""
    return re.sub(r"^[A-Z]+ https?://\S+: ", "", error.message)


def _names_in_use(cloud: GoogleCloudOptions, running: dict[str, str]) -> Iterator[str]:
    name = cloud.job_name
    if name in running and not cloud.update:
        yield (
            f"--job_name {name} is the name of a job that runs, {running[name]}; give another, or replace "
            "that job with --update if it is streaming"
        )
    if cloud.update and name is not None and name not in running:
        others = f"those that run: {', '.join(sorted(running))}" if running else "no job runs there"
        yield f"--update: there is no job {name} in {cloud.region} to replace; {others}"
