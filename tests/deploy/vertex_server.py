"""As much of Vertex AI's REST API as `gcloud ai models` and `gcloud ai endpoints` call.

It checks what it is sent against Google's own messages (google-cloud-aiplatform), and against what their
documentation says of the fields. Like the real one, it names resources by the project's number, and does not
tell which container a model was uploaded with.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from google.cloud.aiplatform_v1.types import DeployModelRequest, Endpoint, UploadModelRequest
from google.protobuf import json_format

from emulators.http_servers import http_server

PROJECT = "a-project"
PROJECT_NUMBER = "414243"
REGION = "europe-west4"
TOKEN = "token-of-the-test"  # noqa: S105

_PARENT = f"/projects/{PROJECT}/locations/{REGION}"
_RESOURCE = f"projects/{PROJECT_NUMBER}/locations/{REGION}"
_MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")

Json = dict[str, Any]


class Refused(Exception):
    """A request that the API answers with an error."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class VertexServer:
    """What there is in one region of one project.

    Attributes:
        address: Of the API.
        models: The versions of each model, oldest first, by the model's id.
        endpoints: By id.
        uploads: The requests to upload, as they came.
        deploys: The requests to deploy, as they came.
        polls_to_take: How often an operation is asked for before it is done.
        refusals: By the end of a path that would change something, what it is answered with.
        changes: The ends of the paths that were to change something.
        refused: Requests that were no proper ones, with what was wrong.
    """

    address: str
    models: dict[str, list[Json]] = field(default_factory=dict)
    endpoints: dict[str, Json] = field(default_factory=dict)
    uploads: list[Json] = field(default_factory=list)
    deploys: list[Json] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    polls_to_take: int = 0
    refusals: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    _operations: dict[str, list[Any]] = field(default_factory=dict)

    def add_endpoint(self, name: str, deployed: tuple[tuple[str, str, int], ...] = ()) -> str:
        """Add an endpoint with deployed models, each an id, a model's id and a share; return its id."""
        key = str(1_000 + len(self.endpoints))
        self.endpoints[key] = {
            "name": f"{_RESOURCE}/endpoints/{key}",
            "displayName": name,
            "deployedModels": [
                {"id": id_, "model": f"{_RESOURCE}/models/{model}", "modelVersionId": "1"}
                for id_, model, _ in deployed
            ],
            "trafficSplit": {id_: share for id_, _, share in deployed},
        }
        return key

    def answer(self, method: str, target: str, body: Json) -> Json:
        """Answer a request, or raise `Refused`."""
        path = re.sub(r"^/v1(beta1)?(?=/)", "", urlsplit(target).path)
        for (wanted, pattern), does in self._routes().items():
            match = re.fullmatch(pattern, path)
            if method == wanted and match:
                if method != "GET":
                    self._note_change(path.rpartition("/")[2])
                return does(body, **match.groupdict())
        raise Refused(HTTPStatus.NOT_FOUND, f"{method} {path} is not of this API")

    def _note_change(self, end: str) -> None:
        self.changes.append(end)
        if end in self.refusals:
            raise Refused(HTTPStatus.FORBIDDEN, self.refusals[end])

    def _routes(self) -> dict[tuple[str, str], Callable[..., Json]]:
        models, endpoints = f"{_PARENT}/models", f"{_PARENT}/endpoints"
        one = r"/(?P<key>[^/:@]+)"
        return {
            ("GET", models): lambda _: {"models": [versions[0] for versions in self.models.values()]},
            ("POST", f"{models}:upload"): self._upload,
            ("GET", f"{models}{one}:listVersions"): lambda _, key: {"models": self.models[key]},
            ("GET", f"{models}{one}(@(?P<version>[^/:]+))?"): self._get_model,
            ("GET", endpoints): lambda _: {"endpoints": list(self.endpoints.values())},
            ("POST", endpoints): self._create_endpoint,
            ("GET", f"{endpoints}{one}"): lambda _, key: self._endpoint(key),
            ("POST", f"{endpoints}{one}:deployModel"): self._deploy,
            # Operations are named as the resources are: by the project's number.
            ("GET", rf"/{_RESOURCE}/(\w+/[^/]+/)?operations{one}"): self._operation,
        }

    def _get_model(self, _: Json, key: str, version: str | None) -> Json:
        for candidate in self.models.get(key, []):
            if version in (None, candidate["versionId"], *candidate["versionAliases"]):
                return candidate
        raise Refused(HTTPStatus.NOT_FOUND, f"no model {key}@{version}")

    def _upload(self, body: Json) -> Json:
        # gcloud puts the parent into the path only.
        json_format.ParseDict(body, UploadModelRequest.pb(UploadModelRequest()))
        model, parent = body["model"], body.get("parentModel")
        key = parent.rpartition("/")[2] if parent else body["modelId"]
        aliases = model.get("versionAliases", [])
        _check("parentModel" not in body or parent == f"{_PARENT[1:]}/models/{key}", "parentModel")
        _check((key in self.models) == bool(parent), "a new model has an id, a new version a parent")
        _check(_MODEL_ID.fullmatch(key) is not None, "modelId")
        _check(all(map(_ALIAS.fullmatch, aliases)), "versionAliases")
        _check(model["artifactUri"].startswith("gs://"), "artifactUri")
        self.uploads.append(body)
        versions = self.models.setdefault(key, [])
        made = {
            "name": f"{_RESOURCE}/models/{key}",
            "displayName": model["displayName"],
            "artifactUri": model["artifactUri"],
            "versionId": str(len(versions) + 1),
            "versionAliases": aliases if versions else ["default", *aliases],
            "supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES"],
        }
        versions.append(made)
        answer = {"model": made["name"], "modelVersionId": made["versionId"]}
        return self._start("UploadModel", answer, within="")

    def _create_endpoint(self, body: Json) -> Json:
        json_format.ParseDict(body, Endpoint.pb(Endpoint()))
        key = self.add_endpoint(body["displayName"])
        return self._start("CreateEndpoint", {"name": self.endpoints[key]["name"]}, f"endpoints/{key}/")

    def _deploy(self, body: Json, key: str) -> Json:
        json_format.ParseDict(body, DeployModelRequest.pb(DeployModelRequest()))
        endpoint, split = self._endpoint(key), dict(body["trafficSplit"])
        deployed = body["deployedModel"]
        match = re.fullmatch(rf"{_PARENT[1:]}/models/([^@]+)@(.+)", deployed["model"])
        _check(match is not None, "model")
        model = self._get_model({}, *match.groups())  # type: ignore[union-attr]
        there = {one["id"] for one in endpoint["deployedModels"]}
        _check(sum(split.values()) == 100 and set(split) <= {"0", *there}, "trafficSplit")
        machines = deployed["dedicatedResources"]
        _check(1 <= machines["minReplicaCount"] <= machines["maxReplicaCount"], "replicas")
        self.deploys.append(body)
        id_ = str(8_000 + len(self.deploys))
        endpoint["deployedModels"].append(
            {"id": id_, "model": model["name"], "modelVersionId": model["versionId"]}
        )
        endpoint["trafficSplit"] = {(id_ if one == "0" else one): share for one, share in split.items()}
        return self._start("DeployModel", {"deployedModel": {"id": id_}}, f"endpoints/{key}/")

    def _endpoint(self, key: str) -> Json:
        if key not in self.endpoints:
            raise Refused(HTTPStatus.NOT_FOUND, f"no endpoint {key}")
        return self.endpoints[key]

    def _start(self, kind: str, answer: Json, within: str) -> Json:
        key = str(90_000 + len(self._operations))
        name = f"{_RESOURCE}/{within}operations/{key}"
        response = {"@type": f"type.googleapis.com/google.cloud.aiplatform.v1.{kind}Response", **answer}
        self._operations[key] = [self.polls_to_take, {"name": name, "done": True, "response": response}]
        return self._operation({}, key) if not self.polls_to_take else {"name": name}

    def _operation(self, _: Json, key: str) -> Json:
        left, done = self._operations[key]
        self._operations[key][0] = left - 1
        return done if left <= 1 else {"name": done["name"]}  # type: ignore[no-any-return]


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(HTTPStatus.BAD_REQUEST, f"wrong: {what}")


@contextlib.contextmanager
def vertex_server() -> Iterator[VertexServer]:
    """Start the API with nothing in it."""
    vertex = VertexServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, body: Json) -> None:
            try:
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    raise Refused(HTTPStatus.UNAUTHORIZED, "no token")
                self._send(HTTPStatus.OK, vertex.answer(self.command, self.path, body))
            except (Refused, json_format.ParseError, KeyError) as error:
                status = error.status if isinstance(error, Refused) else HTTPStatus.BAD_REQUEST
                if status is not HTTPStatus.FORBIDDEN:
                    vertex.refused.append(f"{self.command} {self.path}: {error!r}")
                told = {"code": status.value, "message": str(error), "status": status.name}
                self._send(status, {"error": told})

        def _send(self, status: HTTPStatus, content: Json) -> None:
            encoded = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

    with http_server(Handler) as port:
        vertex.address = f"http://127.0.0.1:{port}"
        yield vertex
