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
from urllib.parse import parse_qs, urlsplit

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
_ONE = re.compile(rf"/v[13]/(?P<name>projects/[^/]+/(?P<kind>{'|'.join(_KINDS)})/[^/]+)")
_LOGS = "/v2/entries:list"


@dataclass
class Operations:
    """The services of one project.

    Attributes:
        address: Where they listen, for gcloud.
        kept: What was created, and is there yet: the messages by their kinds.
        asked: The filters of those who have read logs.
        made: How many were created so far.
    """

    address: str
    kept: dict[str, list[Any]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})
    asked: list[str] = field(default_factory=list)
    made: int = 0

    def create(self, kind: str, parent: str, body: str) -> dict[str, Any]:
        """Keep a new resource.

        Raises:
            json_format.ParseError: It is none of its kind.
        """
        message = _KINDS[kind]()
        json_format.Parse(body, type(message).pb(message))
        self.made += 1
        message.name = f"{parent}/{kind}/{self.made}"
        self.kept[kind].append(message)
        return self._told(message)

    def all_of(self, kind: str, parent: str) -> dict[str, Any]:
        """Return all of a kind; whoever asks filters them."""
        return {kind: [self._told(one) for one in self.kept[kind] if one.name.startswith(f"{parent}/")]}

    def delete(self, kind: str, name: str) -> bool:
        """Forget a resource, and tell whether there was one."""
        before = self.kept[kind]
        self.kept[kind] = [one for one in before if one.name != name]
        return len(self.kept[kind]) < len(before)

    def logs(self, body: str) -> dict[str, Any]:
        """Find nothing in the logs."""
        self.asked.append(json.loads(body)["filter"])
        return {}

    @staticmethod
    def _told(message: Any) -> dict[str, Any]:
        return dict(json_format.MessageToDict(type(message).pb(message)))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: ClassVar[Operations]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        match = _PATH.fullmatch(url.path)
        if match is None or match["kind"] not in _KINDS:
            self._refuse(404, "NOT_FOUND", f"There is no {url.path}.")
        elif "filter" in parse_qs(url.query):
            self._refuse(501, "UNIMPLEMENTED", "Nothing is filtered here.")
        else:
            self._send(200, self.service.all_of(match["kind"], match["parent"]))

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        match = _ONE.fullmatch(path)
        if match is not None and self.service.delete(match["kind"], match["name"]):
            self._send(200, {})
        else:
            self._refuse(404, "NOT_FOUND", f"There is no {path}.")

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
