"""What fake-gcs-server lacks of Cloud Storage: a bucket's notifications, and the account that sends them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from emulators.http_servers import http_server

BUCKET = "photos"
PROJECT_NUMBER = "123456"
ACCOUNT = f"service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"

_ROOT = "/storage/v1"
_CONFIGS = f"{_ROOT}/b/{BUCKET}/notificationConfigs"


@dataclass
class BucketServer:
    """One bucket.

    Attributes:
        address: Of the server.
        notifications: As the API writes them; what is added is there already.
        refusals: How many requests for a notification are refused before one is taken, as by the real service
            while it does not know that it may publish.
        writes: The requests that would change something.
    """

    address: str = ""
    notifications: list[dict[str, Any]] = field(default_factory=list)
    refusals: int = 0
    writes: int = 0

    def get(self, path: str) -> dict[str, Any] | None:
        """Answer what is asked; None for what is not there."""
        return {
            f"{_ROOT}/b/{BUCKET}": {"name": BUCKET, "projectNumber": PROJECT_NUMBER},
            f"{_ROOT}/projects/{PROJECT_NUMBER}/serviceAccount": {"email_address": ACCOUNT},
            _CONFIGS: {"items": self.notifications},
        }.get(path)

    def post(self, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Add a notification, which must be whole."""
        self.writes += 1
        assert path == _CONFIGS
        assert sent.keys() >= {"topic", "event_types", "payload_format"}
        if self.refusals:
            self.refusals -= 1
            return 403, {"error": {"message": f"{ACCOUNT} does not have permission to publish messages"}}
        self.notifications.append({**sent, "id": str(len(self.notifications) + 1)})
        return 200, self.notifications[-1]


@contextlib.contextmanager
def bucket_server() -> Iterator[BucketServer]:
    """Serve a bucket without notifications."""
    bucket = BucketServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = bucket.get(self.path.partition("?")[0])
            self._answer(*((404, {"error": {"message": "Not Found"}}) if found is None else (200, found)))

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(*bucket.post(self.path.partition("?")[0], sent))

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *args: Any) -> None:
            pass

    with http_server(Handler) as port:
        bucket.address = f"http://127.0.0.1:{port}"
        yield bucket
