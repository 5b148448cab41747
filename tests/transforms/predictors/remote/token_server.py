"""A server that gives tokens, as Google's do: for the keys of service accounts, and on their machines."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from google.auth import jwt

from emulators.http_servers import http_server

ACCOUNT = "worker@project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_AUDIENCE = "https://oauth2.googleapis.com/token"  # of any signed wish, wherever it is sent
_ACCOUNT_PATH = "/computeMetadata/v1/instance/service-accounts/default/"


@dataclass
class TokenServer:
    """What the server does, and what it was asked for.

    Attributes:
        public_key: Of the service account, as PEM: what is signed by another is refused.
        life: The seconds until a token expires.
        answer: The status and the body that everybody gets in the place of a token.
        is_metadata_server: Whether it answers as the metadata server of a machine.
        opened: While it is not set, whoever asks for a token waits.
        asked: What each token that was given is for.
    """

    public_key: bytes = field(repr=False)
    life: int = 3_600
    answer: tuple[int, str] | None = None
    is_metadata_server: bool = True
    opened: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.opened.set()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def token_uri(self) -> str:
        return f"http://{self.host}/token"

    def access_token(self, asked: str) -> dict[str, Any]:
        self.asked.append(asked)
        return {"access_token": f"access-{len(self.asked)}", "expires_in": self.life, "token_type": "Bearer"}

    def id_token(self, audience: str) -> str:
        self.asked.append(audience)
        claims = {"aud": audience, "number": len(self.asked), "exp": int(time.time()) + self.life}
        return ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "none"}, claims, "signature"))

    def by_key(self, form: Mapping[str, list[str]]) -> dict[str, Any]:
        """Answer to a signed wish, as OAuth 2.0 servers do (RFC 7523)."""
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        claims = jwt.decode(form["assertion"][0], certs=self.public_key.decode(), audience=_AUDIENCE)
        assert claims["iss"] == ACCOUNT
        if "target_audience" in claims:
            return {"id_token": self.id_token(claims["target_audience"])}
        assert claims["scope"] == SCOPE
        return self.access_token(claims["iss"])

    def by_machine(self, path: str, query: Mapping[str, list[str]]) -> dict[str, Any] | str:
        """Answer as the metadata server of a machine with a service account."""
        if path == "/computeMetadata/v1/project/project-id":
            return "project"
        if path in (_ACCOUNT_PATH, _ACCOUNT_PATH.replace("default", ACCOUNT)):
            return {"email": ACCOUNT, "scopes": [SCOPE], "aliases": ["default"]}
        if path == f"{_ACCOUNT_PATH}token":
            return self.access_token(ACCOUNT)
        assert path == f"{_ACCOUNT_PATH}identity"
        assert query["format"] == ["full"]
        return self.id_token(query["audience"][0])


def number_of(token: str) -> int:
    """Tell as how many-th a token was given."""
    if token.startswith("access-"):
        return int(token.removeprefix("access-"))
    return int(claims_of(token)["number"])


def claims_of(id_token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(id_token.split(".")[1] + "=="))
    return claims


@contextlib.contextmanager
def token_server(public_key: bytes) -> Iterator[TokenServer]:
    """Start one."""
    what = TokenServer(public_key)

    class Handler(_Handler):
        server_of_tokens = what

    with http_server(Handler) as what.port:
        try:
            yield what
        finally:
            what.opened.set()


class _Handler(BaseHTTPRequestHandler):
    server_of_tokens: TokenServer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert self.path == "/token"
        self._answer(lambda: self.server_of_tokens.by_key(form))

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not self.server_of_tokens.is_metadata_server or self.headers["Metadata-Flavor"] != "Google":
            self._send(404, "no metadata here")
        elif parts.path in ("", "/"):
            self._send(200, "0.1/\ncomputeMetadata/\n")
        else:
            self._answer(lambda: self.server_of_tokens.by_machine(unquote(parts.path), parse_qs(parts.query)))

    def _answer(self, content: Any) -> None:
        assert self.server_of_tokens.opened.wait(30)
        if self.server_of_tokens.answer:
            self._send(*self.server_of_tokens.answer)
        else:
            self._send(200, content())

    def _send(self, status: int, content: dict[str, Any] | str) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        kind = "application/text" if isinstance(content, str) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
