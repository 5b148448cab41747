"""A registry of images, which tells what is known of them; there is nothing to pull."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from emulators.http_servers import http_server

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")


@dataclass
class Registry:
    """A registry.

    Attributes:
        host: Where it listens: what the names of its images begin with.
        documents: What it has, by the last part of the path.
    """

    host: str
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def add(self, name: str, tag: str, labels: Mapping[str, str], variables: Sequence[str] = ()) -> str:
        """Add an image for two kinds of machines, and return its whole name."""
        config = self._keep(name, {"config": {"Labels": dict(labels), "Env": list(variables)}})
        manifest = self._keep(name, {"schemaVersion": 2, "config": {"digest": config}})
        index = {
            "manifests": [
                {"digest": "sha256:" + 64 * "0", "platform": {"architecture": "arm64", "os": "linux"}},
                {"digest": manifest, "platform": {"architecture": "amd64", "os": "linux"}},
            ]
        }
        self.documents[name, tag] = json.dumps(index).encode()
        return f"{self.host}/{name}:{tag}"

    def _keep(self, name: str, document: Any) -> str:
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.documents[name, digest] = content
        return digest


class _Handler(BaseHTTPRequestHandler):
    registry: ClassVar[Registry]

    def do_GET(self) -> None:
        match = _PATH.fullmatch(self.path)
        content = match and self.registry.documents.get((match["name"], match["reference"]))
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def image_registry() -> Iterator[Registry]:
    """Start an empty registry on a free port of 127.0.0.1."""
    handler = type("Handler", (_Handler,), {})
    with http_server(handler) as port:
        handler.registry = Registry(f"localhost:{port}")
        yield handler.registry
