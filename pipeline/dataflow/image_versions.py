"""Which versions an image has, asked of its registry without pulling it.

By the API that all registries have: https://github.com/opencontainers/distribution-spec. An image tells its
versions by the labels that deploy/Dockerfile gives it, and Python's by the variable that Docker's images set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from pipeline.dataflow.checklist import NotChecked

PYTHON, BEAM, PACKAGE = "beam-predict.python", "beam-predict.beam", "beam-predict.version"
SECONDS = 5.0

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_WITH_GOOGLES_TOKENS = re.compile(r"([a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io)")
_DOCKER_HUB = ("docker.io", "index.docker.io")
_LOCAL = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?")


@dataclass(frozen=True)
class Image:
    """The name of an image.

    Attributes:
        registry: The host, perhaps with a port.
        name: The path on it.
        reference: A tag or a digest.
    """

    registry: str
    name: str
    reference: str

    @classmethod
    def parse(cls, text: str) -> Image:
        """Read a name as Docker does; without a host it is on Docker Hub.

        Raises:
            ValueError: It is none.
        """
        match = re.fullmatch(r"([^@]+?)(?::([\w][\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?", text)
        path = match.group(1) if match else ""
        host, slash, rest = path.partition("/")
        if not slash or not re.search(r"[.:]|^localhost$", host):
            host, rest = _DOCKER_HUB[0], path
        if host in _DOCKER_HUB:  # which answers elsewhere, and has a folder for names of one word
            host, rest = "registry-1.docker.io", rest if "/" in rest else f"library/{rest}"
        if match is None or not re.fullmatch(r"[a-z0-9]+([._/-]+[a-z0-9]+)*", rest):
            raise ValueError(f"{text} is no name of an image; write REGISTRY/NAME:TAG")
        return cls(host, rest, match.group(3) or match.group(2) or "latest")


class MissingImage(Exception):
    """The registry has no such image, or does not show it."""


def labels_of(image: Image, token: str | None) -> Mapping[str, str]:
    """Return what an image tells of itself, by the names of its labels.

    Args:
        image: Which.
        token: An access token of Google's, for Google's registries.

    Raises:
        MissingImage: It is not there, or not for the owner of the token.
        NotChecked: The registry does not answer.
    """
    session = requests.Session()
    if token is not None and _WITH_GOOGLES_TOKENS.fullmatch(image.registry):
        session.headers["Authorization"] = f"Bearer {token}"
    scheme = "http" if _LOCAL.fullmatch(image.registry) else "https"
    base = f"{scheme}://{image.registry}/v2/{image.name}"
    try:
        manifest = _get(session, f"{base}/manifests/{image.reference}")
        if "manifests" in manifest:  # one for each kind of machine; Dataflow's are amd64
            chosen = next(m for m in manifest["manifests"] if m["platform"]["architecture"] == "amd64")
            manifest = _get(session, f"{base}/manifests/{chosen['digest']}")
        config = _get(session, f"{base}/blobs/{manifest['config']['digest']}")["config"]
    except (requests.RequestException, KeyError, StopIteration, ValueError) as error:
        raise NotChecked(f"{image.registry} does not tell its versions ({_short(error)})") from error
    variables = dict(text.partition("=")[::2] for text in config.get("Env") or ())
    python = {PYTHON: variables["PYTHON_VERSION"]} if "PYTHON_VERSION" in variables else {}
    return {**python, **(config.get("Labels") or {})}


def _get(session: requests.Session, url: str) -> Any:
    headers = {"Accept": _MANIFESTS} if "/manifests/" in url else {}
    answer = session.get(url, headers=headers, timeout=SECONDS)
    if answer.status_code == requests.codes.unauthorized and "Authorization" not in session.headers:
        session.headers["Authorization"] = f"Bearer {_anonymous_token(answer.headers['WWW-Authenticate'])}"
        answer = session.get(url, headers=headers, timeout=SECONDS)
    if answer.status_code in (401, 403, 404):
        raise MissingImage(f"{answer.status_code} {answer.reason}")
    answer.raise_for_status()
    return answer.json()


def _anonymous_token(challenge: str) -> str:
    """Get the token with which anybody may read what is public."""
    parts = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    answer = requests.get(parts.pop("realm"), params=parts, timeout=SECONDS)
    answer.raise_for_status()
    return str(answer.json()["token"])


def _short(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, requests.RequestException) else repr(error)
