"""Cloud Monitoring's and Cloud Logging's REST APIs, as far as an operator's commands of gcloud ask them.

What they are sent must be the message types that Google publishes; it is kept, and never evaluated.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import urlsplit

from google.cloud import monitoring_v3
from google.cloud.monitoring_dashboard_v1 import Dashboard
from google.protobuf import json_format

from emulators.http_servers import http_server

_KINDS = {
    "dashboards": Dashboard,
    "alertPolicies": monitoring_v3.AlertPolicy,
    "notificationChannels": monitoring_v3.NotificationChannel,
}
_PATH = re.compile(r"/v[13]/(?P<parent>projects/[^/]+)/(?P<kind>\w+)")
_LOGS = "/v2/entries:list"


@dataclass
class Operations:
    """The services of one project.

    Attributes:
        address: Where they listen, for gcloud.
        kept: What was created: the messages by their kinds.
        asked: The filters of those who have read logs.
    """

    address: str
    kept: dict[str, list[Any]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})
    asked: list[str] = field(default_factory=list)

    def create(self, kind: str, parent: str, body: str) -> dict[str, Any]:
        """Keep a new resource.

        Raises:
            json_format.ParseError: It is none of its kind.
        """
        message = _KINDS[kind]()
        json_format.Parse(body, type(message).pb(message))
        self.kept[kind].append(message)
        return {**json.loads(body), "name": f"{parent}/{kind}/{len(self.kept[kind])}"}

    def logs(self, body: str) -> dict[str, Any]:
        """Find nothing in the logs."""
        self.asked.append(json.loads(body)["filter"])
        return {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: ClassVar[Operations]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        path = urlsplit(self.path).path
        match = _PATH.fullmatch(path)
        try:
            if path == _LOGS:
                self._send(200, self.service.logs(body))
            elif match is not None and match["kind"] in _KINDS:
                self._send(200, self.service.create(match["kind"], match["parent"], body))
            else:
                self._refuse(404, "NOT_FOUND", f"There is no {path}.")
        except json_format.ParseError as error:
            self._refuse(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}")

    def log_message(self, *_: Any) -> None:
        pass

    def _refuse(self, code: int, status: str, message: str) -> None:
        self._send(code, {"error": {"code": code, "message": message, "status": status}})

    def _send(self, code: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def operations() -> Iterator[Operations]:
    """Start the services on a free port of 127.0.0.1."""
    handler = type("Handler", (_Handler,), {})
    with http_server(handler) as port:
        handler.service = Operations(f"http://127.0.0.1:{port}/")
        yield handler.service
