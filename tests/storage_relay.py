"""What passes requests on to a Cloud Storage server, and notes which objects are downloaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

import requests

from emulators.http_servers import http_server

_PASSED_ON = ("Accept", "Range")


class StorageRelay:
    """A server that takes what is read.

    Attributes:
        host: Its address, for `STORAGE_EMULATOR_HOST`.
        downloads: The names of the objects whose content was asked for.
    """

    def __init__(self) -> None:
        self.host = ""
        self.downloads: list[str] = []

    def note(self, path: str) -> None:
        parts = urlsplit(path)
        if parse_qs(parts.query).get("alt") == ["media"]:
            self.downloads.append(unquote(parts.path.rpartition("/o/")[2]))


@contextlib.contextmanager
def storage_relay(server: str) -> Iterator[StorageRelay]:
    """Pass on to a server what a client asks of this one."""
    relay = StorageRelay()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            relay.note(self.path)
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            answer = requests.get(f"{server}{self.path}", headers=headers, timeout=60)
            self.send_response(answer.status_code)
            for name in ("Content-Type", "X-Goog-Generation", "X-Goog-Hash"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http_server(Handler) as port:
        relay.host = f"http://127.0.0.1:{port}"
        yield relay
