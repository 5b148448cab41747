"""Cloud Storage for `gcloud storage`, which asks more than fake-gcs-server knows; that is asked for the rest.

Buckets have no folders of their own, as https://cloud.google.com/storage/docs/json_api/v1/buckets/getStorageLayout
and https://cloud.google.com/storage/docs/json_api/v1/managedFolders/list tell it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import requests

from emulators.http_servers import http_server

_LAYOUT = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)/storageLayout")
_FOLDERS = re.compile(r"/storage/v1/b/[^/]+/(managedFolders|folders)")
_HOP_BY_HOP = {"connection", "content-encoding", "content-length", "transfer-encoding", "host"}


def _known(method: str, path: str) -> dict[str, Any] | None:
    layout = _LAYOUT.fullmatch(path)
    if layout is not None and method == "GET":
        return {"kind": "storage#storageLayout", "bucket": layout["bucket"], "location": "US"}
    if _FOLDERS.fullmatch(path) and method == "GET":
        return {"items": []}
    return None


@contextlib.contextmanager
def gcloud_storage(server: str) -> Iterator[str]:
    """Serve in front of a fake-gcs-server, and yield the address for gcloud."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = _known(self.command, urlsplit(self.path).path)
            if answer is not None:
                self._send(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())
                return
            passed = requests.request(
                self.command, f"{server}{self.path}", headers=_kept(self.headers), data=body, timeout=60
            )
            if self.command == "DELETE" and passed.ok:  # fake-gcs-server answers `null`
                self._send(204, {}, b"")
            else:
                self._send(passed.status_code, _kept(passed.headers), passed.content)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def _send(self, status: int, headers: Any, content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with http_server(Handler) as port:
        yield f"http://127.0.0.1:{port}/storage/v1/"


def _kept(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
