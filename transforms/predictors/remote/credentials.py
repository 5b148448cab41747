"""What requests to an endpoint carry, so that it lets them in.

`Auth` says where the credentials come from; it goes from the launching machine to the workers, and holds no
secret. Each worker opens it, and what it opens stays there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol
from urllib.parse import urlsplit

from transforms.errors import ModelError
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.redaction import Redaction

Kind = Literal["none", "adc", "id_token", "header"]

_WITHOUT_A_NAME: tuple[Kind, ...] = ("none", "adc", "id_token")
FORMS = "none, adc, id_token, or header:NAME=ENV_VAR, such as header:X-Api-Key=API_KEY"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OF_THE_TRANSPORT = re.compile(
    r"(accept|content|transfer)-encoding|content-(length|type)|connection|cookie|expect|host|keep-alive|"
    r"proxy-authorization|te|trailer|upgrade|user-agent|grpc-.*",
    re.IGNORECASE,
)
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


class Credentials(Protocol):
    """What a worker adds to its requests; used by any number of threads."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers, or gRPC's metadata, for the next request.

        Raises:
            CallFailed: There are none: `RETRY` where who gives them cannot be reached, else `GIVE_UP`.
        """

    def renew(self) -> bool:
        """Forget what the server has refused with 401; False where there is nothing else to send."""

    def redact(self, text: str) -> str:
        """Return a text without what was sent lately."""


@dataclass(frozen=True)
class Auth:
    """Where the credentials come from; made by `parse`.

    Attributes:
        kind: Nowhere; Application Default Credentials, as access tokens or as ID tokens; or the environment.
        header: The name of the header that carries a secret from the environment.
        variable: The name of the environment variable that holds it.
    """

    kind: Kind = "none"
    header: str = ""
    variable: str = ""

    @classmethod
    def parse(cls, text: str) -> Auth:
        """Read what `--endpoint_auth` says.

        Raises:
            ValueError: It is nothing of `FORMS`. The message does not repeat it: it may hold a secret.
        """
        for kind in _WITHOUT_A_NAME:
            if text == kind:
                return cls(kind)
        prefix, _, rest = text.partition(":")
        if prefix != "header":
            raise ValueError(f"must be {FORMS}")
        header, _, variable = rest.partition("=")
        if not _TOKEN.fullmatch(header):
            raise ValueError(f"must be {FORMS}; the header's name has a character that no name may have")
        if _OF_THE_TRANSPORT.fullmatch(header):
            raise ValueError(f"must name another header: {header} is set by what sends the requests")
        if not _VARIABLE.fullmatch(variable):
            raise ValueError(
                f"must be {FORMS}; what follows the = is the name of an environment variable, not the secret"
            )
        return cls("header", header, variable)

    def problem(self, endpoint: Endpoint) -> str | None:
        """Tell why these credentials must not be sent to an endpoint; None where they may."""
        if self.kind == "none" or endpoint.secure or endpoint.is_loopback:
            return None
        return (
            f"--endpoint_auth {self.kind} would send a secret in plain text to {endpoint.address}; "
            "give an address that begins with https:// or grpcs://"
        )

    def open(self, endpoint: Endpoint) -> Credentials:
        """Make ready to send the credentials; on the worker. Tokens are fetched when they are first needed.

        Raises:
            ModelError: The environment lacks the secret, or the endpoint must not get it.
        """
        problem = self.problem(endpoint)
        if problem:
            raise ModelError(problem)
        if self.kind == "none":
            return NoCredentials()
        if self.kind == "header":
            return HeaderCredentials(self.header, secret_of(self.variable))
        from transforms.predictors.remote.google_tokens import access_tokens, id_tokens

        return access_tokens() if self.kind == "adc" else id_tokens(audience_of(endpoint))


class NoCredentials:
    """Nothing, for endpoints that let everybody in."""

    def headers(self) -> Mapping[str, str]:
        """See `Credentials.headers`."""
        return {}

    def renew(self) -> bool:
        """See `Credentials.renew`."""
        return False

    def redact(self, text: str) -> str:
        """See `Credentials.redact`."""
        return text


class HeaderCredentials:
    """One header, which is always the same.

    Args:
        name: Of the header.
        value: The secret.
    """

    def __init__(self, name: str, value: str) -> None:
        self._headers = {name: value}
        self._redaction = Redaction([value])

    def headers(self) -> Mapping[str, str]:
        """See `Credentials.headers`."""
        return self._headers

    def renew(self) -> bool:
        """See `Credentials.renew`."""
        return False

    def redact(self, text: str) -> str:
        """See `Credentials.redact`."""
        return self._redaction(text)

    def __reduce__(self) -> NoReturn:
        """Keep the secret on this machine."""
        raise TypeError("credentials are opened where they are used: pickle the Auth")


def secret_of(variable: str) -> str:
    """Read a secret from the environment.

    Raises:
        ModelError: It is not there, or no header can carry it.
    """
    value = os.environ.get(variable)
    if not value:
        lack = "not set" if value is None else "empty"
        raise ModelError(
            f"--endpoint_auth: the environment variable {variable} is {lack}; it must hold the header's "
            "value, on this machine and on each worker"
        )
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ModelError(
            f"--endpoint_auth: the environment variable {variable} holds what no header can carry: only "
            "printable ASCII characters can be sent, without a newline or a space at either end"
        )
    return value


def audience_of(endpoint: Endpoint) -> str:
    """Return whom an ID token is for, as Cloud Run checks it: `https://HOST`."""
    if endpoint.protocol == "grpc":
        scheme, host = "https" if endpoint.secure else "http", endpoint.url
    else:
        scheme, host = urlsplit(endpoint.url)[:2]
    return f"{scheme}://{host.lower().removesuffix(_DEFAULT_PORTS[scheme])}"
