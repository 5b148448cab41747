"""Dataflow's REST API: it takes jobs, checks and keeps them, and runs none.

What it is sent must be the message types that Google publishes (`google.cloud.dataflow_v1beta3`), without a
field too many; what it answers follows
https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.jobs.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import IntEnum
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, urlsplit

from google.cloud import dataflow_v1beta3 as api
from google.protobuf import json_format, struct_pb2

from emulators.http_servers import http_server
from transforms.metric_table import NAMESPACE

ACTIVE = (
    api.JobState.JOB_STATE_RUNNING,
    api.JobState.JOB_STATE_PENDING,
    api.JobState.JOB_STATE_QUEUED,
    api.JobState.JOB_STATE_DRAINING,
    api.JobState.JOB_STATE_CANCELLING,
)
_IMPORTANCES = [
    api.JobMessageImportance[f"JOB_MESSAGE_{name}"]
    for name in ("IMPORTANCE_UNKNOWN", "DEBUG", "DETAILED", "BASIC", "WARNING", "ERROR")
]  # by their numbers BASIC would be the last
_JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
_JOBS = r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs"


class Refused(Exception):
    """A request that the service does not grant, with what it answers."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Distribution(NamedTuple):
    """Values, as the service tells of them."""

    count: int
    sum: int
    min: int
    max: int


@dataclass
class Dataflow:
    """A Dataflow service: what it knows, and what it was asked for.

    Attributes:
        endpoint: What `--dataflow_endpoint` takes. It names localhost, for else Beam does not speak REST.
        token_uri: Where credentials get their tokens.
        regions: Those that there are.
        projects: Those whose owner asks; None for each that there is a request for.
        jobs: The jobs that it took, by their ids, in the order in which they came.
        refusals: What it answers to the next requests for a new job, in the place of taking it.
        list_refusals: The same for requests for the list of jobs.
        requests: Each request: the method and the path.
        states: What is answered when a batch job is asked for, before it has ended: its state, or a refusal.
        batch_ends_as: The state in which a batch job is found when it is asked for then.
        messages: What is told of every job.
        counters: What the workers have counted, by the names under which this project counts.
        distributions: The values that they have measured, by the same kind of names.
    """

    endpoint: str
    regions: tuple[str, ...] = ("us-central1", "europe-west1")
    projects: tuple[str, ...] | None = None
    jobs: dict[str, api.Job] = field(default_factory=dict)
    refusals: deque[Refused] = field(default_factory=deque)
    list_refusals: deque[Refused] = field(default_factory=deque)
    requests: list[tuple[str, str]] = field(default_factory=list)
    states: deque[api.JobState | Refused] = field(default_factory=deque)
    batch_ends_as: api.JobState = api.JobState.JOB_STATE_DONE
    messages: list[api.JobMessage] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    distributions: dict[str, Distribution] = field(default_factory=dict)

    @property
    def token_uri(self) -> str:
        """See the class."""
        return f"{self.endpoint}/token"

    @property
    def job(self) -> api.Job:
        """The newest job."""
        return list(self.jobs.values())[-1]

    def active(self, name: str | None = None) -> list[api.Job]:
        """Return the jobs that go on, of a name if one is given."""
        return [
            job
            for job in self.jobs.values()
            if job.current_state in ACTIVE and (name is None or job.name == name)
        ]

    def create(self, project: str, region: str, body: str) -> api.Job:
        """Take a job, or the existing one of that name, as the real service does.

        Raises:
            Refused: It is no job, or one that cannot run.
        """
        if self.refusals:
            raise self.refusals.popleft()
        self._check_place(project, region)
        job = _parsed(body)
        _check(job)
        others = self.active(job.name)
        if job.replace_job_id:
            self._replace(job, others)
        elif others:
            return others[0]
        number = len(self.jobs) + 1
        job.id, job.project_id, job.location = f"2026-01-01_00_00_00-{number:019d}", project, region
        job.current_state = api.JobState.JOB_STATE_RUNNING
        job.create_time = job.current_state_time = datetime.now(timezone.utc)
        self.jobs[job.id] = job
        return job

    def list_jobs(
        self, project: str, region: str | None, name: str | None, active: bool
    ) -> api.ListJobsResponse:
        """Return jobs, the newest first; without a region, those of all."""
        if self.list_refusals:
            raise self.list_refusals.popleft()
        self._check_place(project, region or self.regions[0])
        jobs = self.active(name) if active else [j for j in self.jobs.values() if name in (None, j.name)]
        return api.ListJobsResponse(jobs=jobs[::-1])

    def get(self, job_id: str) -> api.Job:
        """Return a job; a batch job has ended then, unless it has other `states` before.

        Raises:
            Refused: There is none, or `states` says so.
        """
        job = self._known(job_id)
        if job.type_ == api.JobType.JOB_TYPE_BATCH and job.current_state in ACTIVE:
            state = self.states.popleft() if self.states else self.batch_ends_as
            if isinstance(state, Refused):
                raise state
            job.current_state = state
        return job

    def list_messages(self, job_id: str, least: int, since: datetime | None) -> api.ListJobMessagesResponse:
        """Return what is told of a job: from an importance on, and from a time on."""
        self._known(job_id)
        told = [
            message
            for message in self.messages
            if _IMPORTANCES.index(message.message_importance) >= _IMPORTANCES.index(least)
            and (since is None or message.time >= since)
        ]
        return api.ListJobMessagesResponse(job_messages=told)

    def metrics(self, job_id: str) -> api.JobMetrics:
        """Return what was counted and measured, each committed and tentative, as the real service does.

        It tells each distribution as one value, and again as four.
        """
        self._known(job_id)
        values = {name: _scalar("Sum", value) for name, value in self.counters.items()}
        for name, measured in self.distributions.items():
            values[name] = {"kind": "Distribution", "distribution": _struct(measured._asdict())}
            for part in ("count", "min", "max"):
                values[f"{name}_{part.upper()}"] = _scalar("Sum", getattr(measured, part))
            values[f"{name}_MEAN"] = _scalar("Mean", measured.sum / measured.count)
        context = {"namespace": NAMESPACE, "step": "s1"}
        updates = [
            api.MetricUpdate(
                name=api.MetricStructuredName(origin="user", name=name, context={**context, **more}), **value
            )
            for name, value in values.items()
            for more in ({}, {"tentative": "true"})
        ]
        return api.JobMetrics(metrics=updates)

    def _known(self, job_id: str) -> api.Job:
        job = self.jobs.get(job_id)
        if job is None:
            raise Refused(404, "NOT_FOUND", f"({job_id}): Information about job could not be found.")
        return job

    def change(self, job_id: str, body: str) -> api.Job:
        """Bring a job into the state that is asked for, or give it other numbers of workers."""
        job, wanted = self.get(job_id), _parsed(body)
        if wanted.requested_state:
            job.requested_state = job.current_state = wanted.requested_state
            job.labels.update(wanted.labels)
        else:
            job.runtime_updatable_params = wanted.runtime_updatable_params
        return job

    def _check_place(self, project: str, region: str) -> None:
        if self.projects is not None and project not in self.projects:
            raise Refused(
                403,
                "PERMISSION_DENIED",
                "(f0): Could not list jobs; caller lacks dataflow.jobs.list permission. Or the project "
                f"{project} does not exist.",
            )
        if region not in self.regions:
            raise Refused(400, "INVALID_ARGUMENT", f"Unknown location: {region}.")

    def _replace(self, job: api.Job, others: list[api.Job]) -> None:
        if [job.replace_job_id] != [other.id for other in others]:
            raise Refused(
                400, "INVALID_ARGUMENT", f"(f1): {job.replace_job_id} is no running job named {job.name}."
            )
        others[0].current_state = api.JobState.JOB_STATE_UPDATED


def _scalar(kind: str, value: float) -> dict[str, Any]:
    return {"kind": kind, "scalar": struct_pb2.Value(number_value=value)}


def _struct(values: dict[str, int]) -> struct_pb2.Value:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct_pb2.Value(struct_value=struct)


def _parsed(body: str) -> api.Job:
    try:
        return api.Job(json_format.Parse(body, api.Job.pb(api.Job())))
    except json_format.ParseError as error:
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error


def _check(job: api.Job) -> None:
    """See that the service could start workers for a job."""
    wrong = [message for message, holds in _rules(job) if not holds]
    if wrong:
        raise Refused(400, "INVALID_ARGUMENT", f"(f2): The workflow could not be created. {' '.join(wrong)}")


def _rules(job: api.Job) -> Iterator[tuple[str, bool]]:
    environment, options = job.environment, json_format.MessageToDict(api.Job.pb(job).environment)
    sdk = options.get("sdkPipelineOptions", {}).get("options", {})
    pools = list(environment.worker_pools)
    yield f"The name {job.name!r} is invalid.", _JOB_NAME.fullmatch(job.name) is not None
    yield "The type is missing.", job.type_ != api.JobType.JOB_TYPE_UNKNOWN
    yield "There must be one worker pool.", len(pools) == 1
    yield "The pipeline is missing.", str(sdk.get("pipelineUrl", "")).startswith("gs://")
    yield (
        "The temporary place is missing.",
        environment.temp_storage_prefix.startswith("storage.googleapis.com/"),
    )
    for pool in pools:
        images = [image.container_image for image in pool.sdk_harness_container_images]
        yield "An image is missing.", bool(images) and all(images)
        yield "A package has no place.", all(p.location and p.name for p in pool.packages)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: ClassVar[Dataflow]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        with contextlib.suppress(ConnectionError):  # who has asked may be interrupted
            self._answer_one()

    def _answer_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        url = urlsplit(self.path)
        self.service.requests.append((self.command, url.path))
        try:
            answer = self._of(url.path, parse_qs(url.query), body)
        except Refused as refused:
            error = {"code": refused.code, "message": str(refused), "status": refused.status}
            self._send(refused.code, {"error": error})
        else:
            self._send(200, answer)

    def _of(self, path: str, query: dict[str, list[str]], body: str) -> Any:
        if (self.command, path) == ("POST", "/token"):
            return {
                "access_token": "a-token",
                "expires_in": 3_600,
                "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }
        if not self.headers.get("Authorization", "").startswith("Bearer "):
            raise Refused(401, "UNAUTHENTICATED", "Request is missing required authentication credential.")
        for method, pattern, function in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                answer = function(self.service, match.groupdict(), query, body)
                return answer if isinstance(answer, dict) else _json_of(answer)
        raise Refused(404, "NOT_FOUND", f"There is no {self.command} {path}.")

    def _send(self, code: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _json_of(message: Any) -> Any:
    """Write a message as the real service does: values of enumerations by their names."""
    return json.loads(type(message).to_json(message, use_integers_for_enums=False))


def _number(query: dict[str, list[str]], name: str, kind: type[IntEnum]) -> int:
    """Read a value of an enumeration, which may be written as its name or as its number."""
    (text,) = query.get(name, ["0"])
    return int(text) if text.isdigit() else kind[text].value


_Route = Callable[[Dataflow, dict[str, str], dict[str, list[str]], str], Any]


def _list(
    service: Dataflow, place: dict[str, str], query: dict[str, list[str]], _: str
) -> api.ListJobsResponse:
    active = _number(query, "filter", api.ListJobsRequest.Filter) == api.ListJobsRequest.Filter.ACTIVE
    return service.list_jobs(place["project"], place.get("region"), query.get("name", [None])[0], active)


def _messages(
    service: Dataflow, at: dict[str, str], query: dict[str, list[str]], _: str
) -> api.ListJobMessagesResponse:
    least = _number(query, "minimumImportance", api.JobMessageImportance)
    since = query.get("startTime", [None])[0]
    return service.list_messages(
        at["job"], least, datetime.fromisoformat(since.replace("Z", "+00:00")) if since else None
    )


_ROUTES: tuple[tuple[str, str, _Route], ...] = (
    ("POST", _JOBS, lambda service, at, _, body: service.create(at["project"], at["region"], body)),
    ("GET", _JOBS, _list),
    ("GET", r"/v1b3/projects/(?P<project>[^/]+)/jobs:aggregated", _list),
    ("GET", rf"{_JOBS}/(?P<job>[^/]+)", lambda service, at, _, __: service.get(at["job"])),
    ("PUT", rf"{_JOBS}/(?P<job>[^/]+)", lambda service, at, _, body: service.change(at["job"], body)),
    ("GET", rf"{_JOBS}/(?P<job>[^/]+)/messages", _messages),
    ("GET", rf"{_JOBS}/(?P<job>[^/]+)/metrics", lambda service, at, _, __: service.metrics(at["job"])),
)


@contextlib.contextmanager
def dataflow_service() -> Iterator[Dataflow]:
    """Start a service without jobs on a free port of 127.0.0.1."""
    handler = type("Handler", (_Handler,), {})
    with http_server(handler) as port:
        handler.service = Dataflow(f"http://localhost:{port}")
        yield handler.service
