"""What Dataflow does with a Flex Template: it checks the parameters, runs the launcher, and starts the job.

The requests, the template's description and the rules for parameters are Google's published types. What the
launcher passes to the template's file is what logs of real launches show, for Google describes it nowhere.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

from google.cloud import dataflow_v1beta3 as api
from google.protobuf import json_format

from emulators.dataflow import Dataflow, Refused
from emulators.http_servers import http_server
from transforms import storage

LAUNCHER = Path(__file__).parents[1] / "deploy" / "flex_template.py"

_LAUNCH = re.compile(r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/flexTemplates:launch")
_FLAGS = {
    "temp_location": "temp_location",
    "staging_location": "staging_location",
    "num_workers": "num_workers",
    "max_workers": "max_num_workers",
    "machine_type": "machine_type",
    "service_account_email": "service_account_email",
    "network": "network",
    "subnetwork": "subnetwork",
    "worker_region": "worker_region",
    "worker_zone": "worker_zone",
    "kms_key_name": "dataflow_kms_key",
    "disk_size_gb": "disk_size_gb",
    "sdk_container_image": "sdk_container_image",
}


@dataclass
class FlexTemplates:
    """The service.

    Attributes:
        dataflow: Who gets the jobs.
        environment: The variables of the launcher's machine; its programs are this process's.
        address: Where it listens, for gcloud.
        launches: What each launcher was passed.
        logs: What each launcher has written.
        codes: How each has ended.
    """

    dataflow: Dataflow
    environment: Mapping[str, str]
    address: str = ""
    launches: list[Sequence[str]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def launch(self, project: str, region: str, body: str) -> api.LaunchFlexTemplateResponse:
        """Launch a job; unlike the real service, when that is done, and not before.

        Raises:
            Refused: The parameters are not those of the template.
        """
        asked = _parsed(body, api.LaunchFlexTemplateRequest()).launch_parameter
        spec = _parsed(_read(asked.container_spec_gcs_path), api.ContainerSpec())
        _check(asked.parameters, spec.metadata.parameters)
        file = f"{asked.environment.staging_location}/template_launches/{len(self.launches)}/job_object"
        self._run(_words(project, region, asked, file), spec.image)
        if self.codes[-1]:
            job = api.Job(name=asked.job_name, current_state=api.JobState.JOB_STATE_FAILED)
        else:
            job = self.dataflow.create(project, region, _read(file))
        return api.LaunchFlexTemplateResponse(job=job)

    def _run(self, words: Sequence[str], image: str) -> None:
        self.launches.append(words)
        ended = subprocess.run(
            [sys.executable, str(LAUNCHER), *words],
            env={**self.environment, "BEAM_PREDICT_IMAGE": image},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.logs.append(ended.stdout)
        self.codes.append(ended.returncode)


def _words(project: str, region: str, asked: Any, file: str) -> list[str]:
    """Return a word for each flag, in the order of their names."""
    flags = {
        "runner": "DataflowRunner",
        "project": project,
        "region": region,
        "job_name": asked.job_name,
        "template_location": file,
        **dict(_of_environment(asked.environment)),
        **asked.parameters,
    }
    if asked.update:
        flags["update"] = "true"
    if asked.transform_name_mappings:
        flags["transform_name_mapping"] = json.dumps(dict(asked.transform_name_mappings))
    return [f"--{name}={flags[name]}" for name in sorted(flags)]


def _of_environment(environment: Any) -> Iterator[tuple[str, str]]:
    for name, flag in _FLAGS.items():
        value = getattr(environment, name)
        yield from [(flag, str(value))] if value else []
    if environment.additional_user_labels:
        yield "labels", json.dumps(dict(environment.additional_user_labels))
    if environment.additional_experiments:
        yield "experiments", ",".join(environment.additional_experiments)
    if environment.ip_configuration == api.WorkerIPAddressConfiguration.WORKER_IP_PRIVATE:
        yield "use_public_ips", "false"
    if environment.enable_streaming_engine:
        yield "enable_streaming_engine", "true"
    if environment.flexrs_goal:
        yield "flexrs_goal", environment.flexrs_goal.name.removeprefix("FLEXRS_")
    for option in environment.additional_pipeline_options:
        name, _, value = option.partition("=")
        yield name, value


def _check(given: Mapping[str, str], parameters: Sequence[Any]) -> None:
    known = {parameter.name: parameter for parameter in parameters}
    wrong = [f"{name}: Unrecognized parameter" for name in given if name not in known]
    required = [name for name, parameter in known.items() if not parameter.is_optional]
    wrong += [f"{name}: Missing required parameter" for name in required if name not in given]
    for name, value in given.items():
        for regex in known[name].regexes if name in known else ():
            if not re.search(regex, value):
                wrong.append(f"{name}: Parameter didn't match regex '{regex}'")
    if wrong:
        details = "\n".join(wrong)
        raise Refused(400, "INVALID_ARGUMENT", f"The template parameters are invalid. Details: \n{details}")


def _read(uri: str) -> str:
    return storage.read(uri, 10 << 20).decode()


def _parsed(text: str, message: Any) -> Any:
    try:
        json_format.Parse(text, type(message).pb(message))
    except json_format.ParseError as error:
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
    return message


class _Handler(BaseHTTPRequestHandler):
    service: ClassVar[FlexTemplates]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        match = _LAUNCH.match(self.path)
        try:
            if match is None:
                raise Refused(404, "NOT_FOUND", f"There is no {self.path}.")
            if not self.headers.get("Authorization", "").startswith("Bearer "):
                raise Refused(401, "UNAUTHENTICATED", "Request lacks an authentication credential.")
            answer = self.service.launch(match["project"], match["region"], body)
        except Refused as refused:
            error = {"code": refused.code, "message": str(refused), "status": refused.status}
            self._send(refused.code, json.dumps({"error": error}))
        else:
            self._send(200, json_format.MessageToJson(type(answer).pb(answer)))

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, code: int, content: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())


@contextlib.contextmanager
def flex_templates(dataflow: Dataflow, environment: Mapping[str, str]) -> Iterator[FlexTemplates]:
    """Start the service on a free port of 127.0.0.1."""
    handler = type("Handler", (_Handler,), {})
    with http_server(handler) as port:
        handler.service = FlexTemplates(dataflow, environment, f"http://127.0.0.1:{port}/")
        yield handler.service
