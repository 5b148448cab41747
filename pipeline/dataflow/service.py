"""What Dataflow itself tells of a project and a region, when it is asked for the jobs that run there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.dataflow.api import RunningJob
from pipeline.dataflow.checklist import NotChecked
from pipeline.dataflow.names import REGIONS, region_problems, unknown_region

OTHER_NAME = "give another --job_name, or replace that job with --update if it is streaming"

Jobs = Callable[[], Sequence[RunningJob]]
"""Lists the jobs that run, or raises what Google's libraries do, or `NotChecked`: there is nobody to ask."""


def region_problem_of(cloud: GoogleCloudOptions, jobs: Jobs) -> Iterable[str]:
    """Tell what is wrong with the region: of one that is not on our list by what Dataflow answers.

    Raises:
        NotChecked: It is not on our list, and nothing is known to be wrong with it.
    """
    from google.api_core import exceptions

    from pipeline.dataflow.service_errors import said

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
        return [f"{unknown[0]} Dataflow answers: {said(error)}"]
    except Exception as error:
        raise NotChecked(f"{unlisted}, and Dataflow does not answer for it") from error
    raise NotChecked(f"{unlisted}; Dataflow answered for it")


def service_problems(cloud: GoogleCloudOptions, jobs: Jobs) -> Iterator[str]:
    """Tell what Dataflow refuses, and what the jobs that run forbid.

    Raises:
        NotChecked: It cannot be asked, or refuses a region that is told already.
    """
    from google.api_core import exceptions

    from pipeline.dataflow.service_errors import ERRORS, NETWORK, reason, said

    try:
        running = {job.name: job.job_id for job in jobs()}
    except (exceptions.BadRequest, exceptions.NotFound) as error:
        if cloud.region not in REGIONS:
            raise NotChecked(f"it refuses --region {cloud.region}") from error
        yield (
            f"Dataflow refuses to list the jobs of --project {cloud.project} in --region {cloud.region} "
            f"({said(error)}); check both"
        )
    except exceptions.Forbidden as error:
        yield (
            f"--project {cloud.project}: Dataflow refuses ({said(error)}); check the name, enable the API "
            f"with `gcloud services enable dataflow.googleapis.com --project={cloud.project}`, and ask for "
            "roles/dataflow.developer"
        )
    except ERRORS as error:
        remedy = "try again later" if isinstance(error, exceptions.GoogleAPIError) else NETWORK
        yield f"{cloud.dataflow_endpoint} does not answer as it should ({reason(error)}); {remedy}"
    else:
        yield from _names_in_use(cloud, running)


def _names_in_use(cloud: GoogleCloudOptions, running: dict[str, str]) -> Iterator[str]:
    name = cloud.job_name
    if name in running and not cloud.update:
        yield (f"--job_name {name} is the name of a job that runs, {running[name]}; {OTHER_NAME}")
    if cloud.update and name is not None and name not in running:
        others = f"those that run: {', '.join(sorted(running))}" if running else "no job runs there"
        yield f"--update: there is no job {name} in {cloud.region} to replace; {others}"
