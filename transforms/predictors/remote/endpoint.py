"""What `--endpoint` says: where a model is served, and which protocol is spoken there.

Addresses are strict: what would be left out, or taken for something else, is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import SplitResult, quote, unquote, urlsplit

from transforms.predictors.remote.url_parts import check_characters, shown_address, split_url

PROTOCOLS = ("tf_serving", "kserve", "vertex", "multipart", "grpc")

_MODEL_EXAMPLE = "http://localhost:8501/v1/models/MODEL"
_VERTEX_EXAMPLE = "projects/PROJECT/locations/LOCATION/endpoints/ENDPOINT"
_GRPC_EXAMPLE = "grpc://localhost:8500/MODEL"
_FORMS = f"{_MODEL_EXAMPLE}, {_VERTEX_EXAMPLE}, {_GRPC_EXAMPLE}"

_SECURE = {"http": False, "https": True, "grpc": False, "grpcs": True}
_DEFAULT_GRPCS_PORT = 443

_CHOICE = r"(?:/versions/(?P<version>[^/]+)|/labels/(?P<label>[^/]+))?"
_MODEL = re.compile(rf"(?P<prefix>(?:/[^/]+)*)/v1/models/(?P<model>[^/]+){_CHOICE}")
_GRPC_MODEL = re.compile(rf"/(?P<model>[^/]+){_CHOICE}")
_RESOURCE = re.compile(
    r"projects/[A-Za-z0-9.:_-]+/locations/(?P<location>[a-z0-9-]+)/endpoints/[A-Za-z0-9_-]+"
)
_VERTEX = re.compile(rf"/v1/{_RESOURCE.pattern}")
_METHOD = re.compile(r":(?P<method>[A-Za-z]+)$")
_MAX_VERSION = (1 << 63) - 1  # as TensorFlow Serving keeps it

_SHARED_VERTEX_HOST = "aiplatform.googleapis.com"
_VERTEX_SHARED_BYTES = 1_500_000
_VERTEX_BYTES = 10_000_000
_GRPC_BYTES = 4 << 20
_REST_BYTES = 32 << 20


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served; made by `parse_endpoint`.

    Attributes:
        address: As the user gave it; there is no secret in it.
        protocol: One of `PROTOCOLS`.
        url: TensorFlow Serving and KServe: what comes before `/v1/models/MODEL`, without a slash at its end.
            Vertex AI: the endpoint's URL, without `:predict`. Multipart: what is posted to. gRPC:
            `host:port`, with an IPv6 address in brackets.
        model: The model's name; empty where the protocol has none.
        version: The version that the address names.
        label: The label that the address names in the place of a version.
        secure: Whether the connection is encrypted.
    """

    address: str
    protocol: str
    url: str
    model: str = ""
    version: str | None = None
    label: str | None = None
    secure: bool = True

    @property
    def host(self) -> str:
        """The host's name or address, in lower case, without brackets."""
        return urlsplit(self.url if "://" in self.url else f"//{self.url}").hostname or ""

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent never leaves this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def model_path(self, version: str | None) -> str:
        """Return the path of the model in a URL: of a version, or else of what the address names."""
        path = f"/v1/models/{quote(self.model, safe='')}"
        chosen = version or self.version
        if chosen is not None:
            return f"{path}/versions/{quote(chosen, safe='')}"
        return path if self.label is None else f"{path}/labels/{quote(self.label, safe='')}"


def guess_protocol(text: str) -> str | None:
    """Tell which protocol an address is certainly of; None where several are possible."""
    if _RESOURCE.match(text):
        return "vertex"
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme in ("grpc", "grpcs"):
        return "grpc"
    path = _METHOD.sub("", parts.path).rstrip("/")
    if _VERTEX.fullmatch(path):
        return "vertex"
    match = _MODEL.fullmatch(path)
    return "tf_serving" if match and (match["version"] or match["label"]) else None


def parse_endpoint(text: str, protocol: str | None = None) -> Endpoint:
    """Read an address.

    Args:
        text: `http(s)://HOST[:PORT]/v1/models/MODEL[/versions/N|/labels/LABEL]` of TensorFlow Serving or
            KServe, `projects/P/locations/L/endpoints/E` of Vertex AI or the URL of one,
            `grpc(s)://HOST:PORT/MODEL[...]` of TensorFlow Serving, or any URL for multipart. The method
            `:predict` may follow.
        protocol: One of `PROTOCOLS`; None for the one that is certain.

    Raises:
        ValueError: It is none of these, or does not tell its protocol; the message has the remedy.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise ValueError(
            f"{shown_address(text)}: there is no protocol {protocol!r}, but {', '.join(PROTOCOLS)}"
        )
    if not text:
        raise ValueError(f"is empty; give an address such as {_FORMS}")
    check_characters(text)
    if _RESOURCE.match(text):
        _check_protocol(text, "vertex", protocol)
        return _resource(text)
    parts = split_url(text, _SECURE)
    certain = guess_protocol(text)
    if protocol == "multipart" and parts.scheme in ("http", "https"):
        certain = "multipart"  # which may be served under any path
    _check_protocol(text, certain, protocol)
    chosen = certain or protocol
    if chosen is None:
        raise ValueError(_undecided(text, parts.path))
    return _READERS[chosen](text, parts)


def default_max_request_bytes(endpoint: Endpoint) -> int:
    """Return the most bytes of a request's body that an endpoint is known to take.

    Vertex AI takes 1.5 MB on shared endpoints, 10 MB on dedicated and on private ones
    (cloud.google.com/vertex-ai/docs/predictions/choose-endpoint-type); Cloud Run 32 MiB
    (cloud.google.com/run/quotas); gRPC's own limit for a message is 4 MiB, which some proxies keep.
    TensorFlow Serving's and KServe's REST servers have none: they get as much as Cloud Run would take.
    """
    if endpoint.protocol == "grpc":
        return _GRPC_BYTES
    if endpoint.protocol != "vertex":
        return _REST_BYTES
    shared = endpoint.host.endswith(_SHARED_VERTEX_HOST) or endpoint.is_loopback
    return _VERTEX_SHARED_BYTES if shared else _VERTEX_BYTES


def _check_protocol(text: str, certain: str | None, protocol: str | None) -> None:
    if certain is not None and protocol not in (None, certain):
        raise ValueError(
            f"{text} is an address of {certain}; pass --endpoint_protocol {certain} or none, not {protocol}"
        )
    if certain is None and protocol in ("grpc", "vertex"):
        example = _GRPC_EXAMPLE if protocol == "grpc" else _VERTEX_EXAMPLE
        raise ValueError(f"{text} is no address of {protocol}; give one such as {example}")


def _undecided(text: str, path: str) -> str:
    if _MODEL.fullmatch(_METHOD.sub("", path).rstrip("/")):
        return f"{text} does not tell the protocol; pass --endpoint_protocol tf_serving or kserve"
    return (
        f"{text} has no path that tells what is served there; give an address such as {_FORMS}, or pass "
        "--endpoint_protocol multipart where it takes one file a request"
    )


def _without_method(text: str, path: str) -> str:
    """Leave `:predict` out, and slashes at the end; another method is not what is asked for."""
    path = path.rstrip("/")
    match = _METHOD.search(path)
    if match is None:
        return path
    if match["method"] != "predict":
        raise ValueError(f"{text} is the address of another method; write :predict or nothing in its place")
    return path[: match.start()]


def _name(text: str, segment: str | None) -> str | None:
    """Read a name in a path; None where there is none."""
    if segment is None:
        return None
    try:
        name = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        name = ""
    if not name.isprintable() or not name.strip() or "/" in name or ":" in name:
        raise ValueError(
            f"{text}: the name {segment!r} is empty, or has characters that no model's name and no label has"
        )
    return name


def _version(text: str, segment: str | None) -> str | None:
    if segment is None:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", segment) or int(segment) > _MAX_VERSION:
        raise ValueError(
            f"{text}: the version {segment!r} must be a whole number; what has a name is a label: "
            f"/labels/{segment}"
        )
    return str(int(segment))


def _model(protocol: str, text: str, parts: SplitResult) -> Endpoint:
    match = _MODEL.fullmatch(_without_method(text, parts.path))
    if match is None or parts.scheme not in ("http", "https"):
        raise ValueError(f"{text} is no address of a model of {protocol}; give one such as {_MODEL_EXAMPLE}")
    return Endpoint(
        address=text,
        protocol=protocol,
        url=f"{parts.scheme}://{parts.netloc}{match['prefix']}",
        model=_name(text, match["model"]) or "",
        version=_version(text, match["version"]),
        label=_name(text, match["label"]),
        secure=_SECURE[parts.scheme],
    )


def _vertex(text: str, parts: SplitResult) -> Endpoint:
    url = f"{parts.scheme}://{parts.netloc}{_without_method(text, parts.path)}"
    endpoint = Endpoint(address=text, protocol="vertex", url=url, secure=_SECURE[parts.scheme])
    if not endpoint.secure and not endpoint.is_loopback:
        raise ValueError(f"{text} must begin with https://, since credentials are sent there")
    return endpoint


def _resource(text: str) -> Endpoint:
    name = _without_method(text, text)
    match = _RESOURCE.fullmatch(name)
    if match is None:
        raise ValueError(f"{text} is no endpoint of Vertex AI; give one such as {_VERTEX_EXAMPLE}")
    url = f"https://{match['location']}-{_SHARED_VERTEX_HOST}/v1/{name}"
    return Endpoint(address=text, protocol="vertex", url=url)


def _multipart(text: str, parts: SplitResult) -> Endpoint:
    url = f"{parts.scheme}://{parts.netloc}{parts.path}"
    return Endpoint(address=text, protocol="multipart", url=url, secure=_SECURE[parts.scheme])


def _grpc(text: str, parts: SplitResult) -> Endpoint:
    match = _GRPC_MODEL.fullmatch(parts.path.rstrip("/"))
    port = parts.port or (_DEFAULT_GRPCS_PORT if parts.scheme == "grpcs" else None)
    if match is None or port is None:
        raise ValueError(f"{text} must have a port, and after it the model's name, as in {_GRPC_EXAMPLE}")
    return Endpoint(
        address=text,
        protocol="grpc",
        url=parts.netloc if parts.port else f"{parts.netloc}:{port}",
        model=_name(text, match["model"]) or "",
        version=_version(text, match["version"]),
        label=_name(text, match["label"]),
        secure=_SECURE[parts.scheme],
    )


_READERS: dict[str, Callable[[str, SplitResult], Endpoint]] = {
    "tf_serving": partial(_model, "tf_serving"),
    "kserve": partial(_model, "kserve"),
    "vertex": _vertex,
    "multipart": _multipart,
    "grpc": _grpc,
}
