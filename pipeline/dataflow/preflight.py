"""Everything that can be wrong with a job on Dataflow, found in seconds, and not by workers in minutes."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from options import (
    EndpointOptions,
    EngineOptions,
    ModelOptions,
    PostprocessingOptions,
    SinkOptions,
    SourceOptions,
)
from options.checks import may_lack_scheme
from options.destinations import Table
from options.flags import FlagGroup
from options.parsing import CommandLine
from pipeline.dataflow.api import NoCredentials, RunningJob, find_credentials, running_jobs
from pipeline.dataflow.buckets import bucket_problems, places_of
from pipeline.dataflow.checklist import Check, NotChecked, run_checks
from pipeline.dataflow.launcher_versions import differences_by_name, image_problems
from pipeline.dataflow.names import (
    email_problems,
    job_name_problems,
    project_problems,
    region_problems,
    unknown_region,
)
from pipeline.dataflow.network import network_problems
from pipeline.dataflow.once import Once
from pipeline.dataflow.packages import package_problems
from pipeline.dataflow.report import SERVICE_ACCOUNT, Report, told_once
from pipeline.dataflow.service import region_problem_of, service_problems
from pipeline.preflight import find_predictor, input_problems
from pipeline.preflight_outputs import output_problems
from transforms import storage
from transforms.predictors.base import Predictor, Signature


def inspect(line: CommandLine, wrong: Sequence[str] = (), launched_in_image: bool = False) -> Report:
    """Look at everything, without changing anything but for files that are deleted at once.

    Args:
        line: The command line of the job.
        wrong: What is known to be wrong with it, or missing, as `--flag is missing: ...`.
        launched_in_image: Whether the job is started by a process in the workers' image, which sees the files
            that are there.
    """
    return _Inspection(line, wrong, launched_in_image).report()


class _Inspection:
    def __init__(self, line: CommandLine, wrong: Sequence[str], launched_in_image: bool) -> None:
        self.line, self.wrong, self.launched_in_image = line, wrong, launched_in_image
        self.options: PipelineOptions = line.options
        self.cloud = self.options.view_as(GoogleCloudOptions)
        self.workers = self.options.view_as(WorkerOptions)
        self.endpoint = self.options.view_as(EndpointOptions)
        self.predictor: Predictor | None = None
        self.credentials = Once(lambda: find_credentials(self.cloud))
        self.jobs = Once(self._list_jobs)
        self.of_inputs = Once(lambda: list(input_problems(self.options)))
        self.of_model = Once(self._find_predictor)

    def report(self) -> Report:
        of_endpoint = [Check("endpoint's credentials", self._endpoint_auth)] if self.endpoint.endpoint else []
        checks = [
            Check("credentials", self._credentials),
            Check("flags", lambda: [*self.wrong, *self.line.unusable, *self.line.contradictory]),
            Check("project", lambda: project_problems(self.cloud.project)),
            Check("region", lambda: region_problem_of(self.cloud, self.jobs)),
            Check("job name", lambda: job_name_problems(self.cloud.job_name)),
            Check("Dataflow", lambda: service_problems(self.cloud, self.jobs)),
            Check("buckets of temporary files", self._buckets),
            Check("image", self._image),
            Check("network", self._network),
            Check(SERVICE_ACCOUNT, self._service_account),
            *of_endpoint,
            Check("endpoint" if self.endpoint.endpoint else "model", self._model),
            Check("inputs", self._inputs),
            Check("outputs", self._outputs),
        ]
        return Report(told_once(run_checks(checks)), self.predictor)

    def _credentials(self) -> Iterator[str]:
        try:
            self.credentials()
        except NoCredentials as error:
            yield str(error)

    def _needed_credentials(self) -> Any:
        try:
            return self.credentials()
        except Exception as error:  # it is told by the check of the credentials
            raise NotChecked("there are no credentials to ask with") from error

    def _list_jobs(self) -> Sequence[RunningJob]:
        credentials = self._needed_credentials()
        if [*project_problems(self.cloud.project), *region_problems(self.cloud.region)]:
            raise NotChecked("it needs --project and --region")
        return running_jobs(self.cloud, credentials)

    def _buckets(self) -> Iterator[str]:
        complete = self.cloud.temp_location is not None
        if not complete and not self.wrong:
            yield "--temp_location is missing: pass --temp_location gs://BUCKET/temp"
        places = places_of(self.cloud)
        wrong = [flag for flag, place in places.items() if not re.match(r"gs://[^/]+/", place)]
        yield from (f"{flag} {places[flag]}: must be gs://BUCKET/FOLDER" for flag in wrong)
        if places and not wrong:
            self._needed_credentials()
            yield from bucket_problems(places, self.cloud)
        if not complete and self.wrong:
            raise NotChecked("the flags must be complete first")

    def _image(self) -> Iterator[str]:
        yield from package_problems(self.options.view_as(SetupOptions))
        image = self.workers.sdk_container_image
        if image is not None:
            by_name = list(differences_by_name(image))
            yield from by_name or image_problems(image, getattr(self._needed_credentials(), "token", None))

    def _network(self) -> Sequence[str]:
        try:
            return network_problems(self.options)
        except NotChecked:
            if self._misplaced():
                raise NotChecked("--project and --region must be right first") from None
            raise

    def _misplaced(self) -> bool:
        """Tell whether the project or the region is known to be wrong."""
        with contextlib.suppress(NotChecked):
            wrong = [*project_problems(self.cloud.project), *region_problem_of(self.cloud, self.jobs)]
            return bool(wrong)
        return False

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
        if self.endpoint.validate() or self.endpoint.auth.kind == "none":
            return []  # what is wrong is told with the flags, or by the endpoint
        if self.endpoint.secret_variable:
            raise NotChecked(
                f"whether the image's start-up gives workers the variable {self.endpoint.secret_variable}"
            )
        account = self.cloud.service_account_email or "the workers' account"
        raise NotChecked(f"whether {account} may call {self.endpoint.endpoint}, as you may")

    def _need(self, *groups: type[Any]) -> None:
        """See that what is to be looked at is told, and that it can be asked for."""
        if any(self.options.view_as(group).validate() for group in groups):
            raise NotChecked("its flags must be right first")
        self._needed_credentials()

    def _model(self) -> Iterable[str]:
        self.predictor, problems = self.of_model()
        return problems

    def _find_predictor(self) -> tuple[Predictor | None, list[str]]:
        model = self.options.view_as(ModelOptions)
        if self.endpoint.endpoint and model.model:
            raise NotChecked("a job has a model or an endpoint")
        of_kind = EndpointOptions if self.endpoint.endpoint else EngineOptions
        self._need(ModelOptions, PostprocessingOptions, of_kind)
        source = self.options.view_as(SourceOptions)
        if self.endpoint.endpoint and FlagGroup.validate(source):
            raise NotChecked("the flags of the inputs, which it may be asked about, must be right first")
        if model.model and storage.is_local(model.model) and may_lack_scheme(model.model):
            raise NotChecked("it is told with the flags")
        if self._model_is_in_image():
            if self.launched_in_image:
                raise NotChecked(f"{model.model} is not on this machine; it is looked for in the image")
            return None, [f"--model {model.model}: {_NOT_HERE}"]
        return find_predictor(self.options, lambda: not source.validate() and not self.of_inputs())

    def _model_is_in_image(self) -> bool:
        """Tell of a model that the image may have, and this machine has not."""
        model, image = self.options.view_as(ModelOptions).model, self.workers.sdk_container_image
        return bool(image and model and os.path.isabs(model) and not os.path.exists(model))

    def _inputs(self) -> Iterable[str]:
        self._need(SourceOptions)
        unclear = [f"--input {named}:" for named in self._local_inputs()]
        return [problem for problem in self.of_inputs() if not problem.startswith(tuple(unclear))]

    def _local_inputs(self) -> list[str]:
        """Name the inputs of which it is told with the flags that workers do not see them."""
        named = self.options.view_as(SourceOptions).input or ()
        return [name for name in named if storage.is_local(name) and may_lack_scheme(name)]

    def _outputs(self) -> Iterator[str]:
        self._need(SinkOptions)
        for problem in output_problems(self.options, self._signature):
            yield problem.replace("bq mk ", f"bq{self._location()} mk ")
        outputs = self.options.view_as(SinkOptions).outputs
        if any(isinstance(output, Table) for output in outputs) and self._signature() is None:
            raise NotChecked("whether the table takes the predictions: the model must be right first")

    def _location(self) -> str:
        """Write the option by which a dataset is where the job is; else it would be in the United States."""
        region = self.cloud.region
        return "" if [*region_problems(region), *unknown_region(region)] else f" --location={region}"

    def _signature(self) -> Signature | None:
        """Return the model's signature, when it is known; None where something is wrong."""
        with contextlib.suppress(Exception):  # it is told by the check of the model
            predictor, _ = self.of_model()
            return predictor.signature if predictor else None
        return None


_NOT_HERE = (
    "there is no file or folder of that name on this machine; if the image has it, start the job from that "
    "image's template (./run_dataflow.sh template run), or name where it was copied from (gs://...): an "
    "image made with deploy/model.Dockerfile holds copies that workers use instead of fetching"
)
