"""Everything that can be wrong with a job on Dataflow, found in seconds, and not by workers in minutes."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from options import EndpointOptions
from options.parsing import CommandLine
from pipeline import preflight
from pipeline.dataflow.api import NoCredentials, find_credentials, running_jobs
from pipeline.dataflow.checklist import Check, NotChecked, Outcome, run_checks
from pipeline.dataflow.launcher_versions import differences_by_name, image_problems
from pipeline.dataflow.names import (
    email_problems,
    job_name_problems,
    project_problems,
    region_problems,
    unknown_region,
)
from pipeline.write_errors import bucket_of, why
from transforms import storage
from transforms.errors import UsageError
from transforms.predictors.base import Predictor

_MISSING = " is missing:"
_MANY = "model or endpoint, inputs and outputs"


@dataclass
class Report:
    """What was found.

    Attributes:
        outcomes: Of each check.
        predictor: The predictor that the flags ask for; None where something is wrong.
    """

    outcomes: Sequence[Outcome]
    predictor: Predictor | None

    @property
    def problems(self) -> list[str]:
        """All that is wrong."""
        return [problem for outcome in self.outcomes for problem in outcome.problems]

    def __str__(self) -> str:
        """Write it for a person."""
        return "\n".join(map(str, self.outcomes))


def inspect(line: CommandLine, missing: Sequence[str] = ()) -> Report:
    """Look at everything, without changing anything but for files that are deleted at once.

    Args:
        line: The command line of the job.
        missing: What is known to be missing on it, as `--flag is missing: ...`.
    """
    return _Inspection(line, missing).report()


@dataclass
class _Inspection:
    line: CommandLine
    missing: Sequence[str]
    predictor: Predictor | None = None
    credentials: Any = None
    cloud: GoogleCloudOptions = field(init=False)
    workers: WorkerOptions = field(init=False)
    endpoint: EndpointOptions = field(init=False)

    def __post_init__(self) -> None:
        options: PipelineOptions = self.line.options
        self.cloud, self.workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
        self.endpoint = options.view_as(EndpointOptions)

    def report(self) -> Report:
        (credentials,) = run_checks([Check("credentials", self._credentials)])
        checks = [
            Check("flags", lambda: [*self.missing, *self.line.unusable, *self.line.contradictory]),
            Check("project", lambda: project_problems(self.cloud.project)),
            Check("region", self._region),
            Check("job name", lambda: job_name_problems(self.cloud.job_name)),
            Check("Dataflow", self._dataflow),
            Check("buckets of temporary files", self._buckets),
            Check("image", self._image),
            Check("service account", self._service_account),
            *([Check("endpoint's credentials", self._endpoint_auth)] if self.endpoint.endpoint else ()),
            Check(_MANY, self._model_inputs_and_outputs),
        ]
        return Report(_told_once([credentials, *run_checks(checks)]), self.predictor)

    def _credentials(self) -> Iterator[str]:
        try:
            self.credentials = find_credentials(self.cloud)
        except NoCredentials as error:
            yield str(error)

    def _need_credentials(self) -> None:
        if self.credentials is None:
            raise NotChecked("there are no credentials to ask with")

    def _region(self) -> Iterable[str]:
        problems = list(region_problems(self.cloud.region))
        if problems or self.credentials is not None:
            return problems  # what Dataflow knows is for it to tell: new regions come
        return unknown_region(self.cloud.region)

    def _dataflow(self) -> Iterable[str]:
        self._need_credentials()
        wrong = [*project_problems(self.cloud.project), *region_problems(self.cloud.region)]
        if wrong:
            raise NotChecked("it needs --project and --region")
        return dataflow_problems(self.cloud, self.credentials)

    def _buckets(self) -> Iterable[str]:
        if self.cloud.temp_location is None:
            if self.missing:
                raise NotChecked("the flags must be complete first")
            return ["--temp_location is missing: pass --temp_location gs://BUCKET/temp"]
        places = {"--temp_location": self.cloud.temp_location}
        if self.cloud.staging_location is not None:
            places["--staging_location"] = self.cloud.staging_location
        wrong = [
            f"{flag} {place}: must be gs://BUCKET/FOLDER"
            for flag, place in places.items()
            if not place.startswith("gs://")
        ]
        if not wrong:
            self._need_credentials()
        return wrong or bucket_problems(places, self.cloud)

    def _image(self) -> Iterable[str]:
        image = self.workers.sdk_container_image
        if image is None:
            return setup_file_problems(self.line.options.view_as(SetupOptions).setup_file)
        by_name = list(differences_by_name(image))
        if by_name:
            return by_name
        self._need_credentials()
        return image_problems(image, getattr(self.credentials, "token", None))

    def _service_account(self) -> Iterable[str]:
        email = self.cloud.service_account_email
        problems = list(email_problems(email))
        if problems:
            return problems
        raise NotChecked(
            f"whether {email or 'the default one'} has roles/dataflow.worker, and may read and write all "
            "places"
        )

    def _endpoint_auth(self) -> Iterable[str]:
        if self.line.unusable or self.endpoint.auth.kind == "none":
            return []  # what is wrong is told with the flags, or by the endpoint
        if self.endpoint.secret_variable:
            raise NotChecked(
                f"whether the image sets the variable {self.endpoint.secret_variable} for workers"
            )
        account = self.cloud.service_account_email or "the workers' account"
        raise NotChecked(f"whether {account} may call {self.endpoint.endpoint}, as you may")

    def _model_inputs_and_outputs(self) -> Iterable[str]:
        if self.missing or self.line.unusable:
            raise NotChecked("the flags must be complete first")
        self._need_credentials()
        try:
            self.predictor = preflight.check(self.line.options)
        except UsageError as error:
            return error.problems
        return []


def setup_file_problems(setup_file: str | None) -> Iterator[str]:
    """See that there is what workers install over Beam's own image, of the launcher's versions."""
    if setup_file is not None and not (Path(setup_file).is_file() and Path(setup_file).name == "setup.py"):
        yield (
            f"--setup_file {setup_file}: must be the setup.py of a checkout of beam-predict; or pass "
            "--sdk_container_image with an image that has it"
        )


def _told_once(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Leave out that a flag is missing where another check has told it."""
    told: set[str] = set()
    kept = []
    for outcome in outcomes:
        problems = []
        for problem in outcome.problems:
            key = problem.partition(_MISSING)[0]
            problems += [] if key in told else [problem]
            told |= {key} if _MISSING in problem else set()
        left = "it is missing" if outcome.problems and not problems else outcome.not_checked
        kept.append(Outcome(outcome.name, problems, left))
    return kept


def dataflow_problems(cloud: GoogleCloudOptions, credentials: Any) -> Iterator[str]:
    """Ask Dataflow for the jobs that run; so it tells whether it knows the region, and may be asked."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        jobs = {job.name: job.job_id for job in running_jobs(cloud, credentials)}
    except (exceptions.BadRequest, exceptions.NotFound) as error:
        told = list(unknown_region(cloud.region))
        yield told[0] if told else f"--region {cloud.region}: Dataflow refuses it ({error.message})"
    except exceptions.Forbidden as error:
        yield (
            f"--project {cloud.project}: Dataflow refuses ({error.message}); check the name, enable the API "
            f"with `gcloud services enable dataflow.googleapis.com --project={cloud.project}`, and ask for "
            "roles/dataflow.developer"
        )
    except (exceptions.GoogleAPICallError, GoogleAuthError, RequestException) as error:
        reason = str(error).partition("\n")[0]
        yield f"{cloud.dataflow_endpoint} does not answer as it should ({reason}); try again later"
    else:
        yield from _names_in_use(cloud, jobs)


def _names_in_use(cloud: GoogleCloudOptions, jobs: dict[str, str]) -> Iterator[str]:
    name = cloud.job_name
    if name in jobs and not cloud.update:
        yield (
            f"--job_name {name} is the name of a job that runs, {jobs[name]}; give another, or replace that "
            "job with --update if it is streaming"
        )
    if cloud.update and name is not None and name not in jobs:
        running = f"those that run: {', '.join(sorted(jobs))}" if jobs else "no job runs there"
        yield f"--update: there is no job {name} in {cloud.region} to replace; {running}"


def bucket_problems(places: dict[str, str], cloud: GoogleCloudOptions) -> Iterator[str]:
    """Write a file to each place, and delete it: Beam alone retries a missing bucket for two minutes."""
    wrong = defaultdict(list)
    for flag, place in places.items():
        problem = _not_writable(place, cloud)
        if problem is not None:
            wrong[problem].append(f"{flag} {place}")
    for problem, named in wrong.items():
        yield f"{', '.join(named)} {problem}"


def _not_writable(place: str, cloud: GoogleCloudOptions) -> str | None:
    probe = f"{place.rstrip('/')}/{uuid.uuid4().hex}.probe"
    try:
        storage.create(probe).close()
        storage.delete(probe)
    except Exception as error:  # each layer below raises its own
        bucket, reason = bucket_of(place), why(error, place)
        remedy = f"gcloud storage buckets create {bucket} --project={cloud.project} --location={cloud.region}"
        makes = f"; `{remedy}` makes one" if reason.startswith("there is no bucket") else ""
        return f"cannot be written: {reason}{makes}"
    return None
