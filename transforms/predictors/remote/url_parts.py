"""URLs, taken apart strictly: what libraries might read in several ways is refused.

Messages never show what may be a secret: a password, a query string, a fragment.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import SplitResult, unquote, urlsplit

_LEGAL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = "[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_NETLOC = re.compile(r"(\[[^\]]*\]|[^\[\]:]+)(:[0-9]+)?")


def shown_address(text: str) -> str:
    """Write an address for a message, without what may be a secret in it."""
    text = re.sub(r"^([a-z]+://)?.*@", r"\1...@", text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"([?#]).*", r"\1...", text, flags=re.DOTALL)
    return text if _LEGAL.fullmatch(text) else ascii(text)


def check_characters(text: str) -> None:
    """See that a URL, or a part of one, has nothing but what it may have.

    Raises:
        ValueError: It has a user, a query, a fragment, or characters that must be written in another way.
    """
    shown = shown_address(text)
    if "@" in text:
        raise ValueError(
            f"{shown}: an address must hold no user, no password and no '@'; pass credentials with "
            "--endpoint_auth, such as --endpoint_auth header:Authorization=ENV_VAR"
        )
    if "?" in text or "#" in text:
        raise ValueError(
            f"{shown}: an address must have no query ('?') and no fragment ('#'); leave them out, and pass "
            "a key with --endpoint_auth header:NAME=ENV_VAR"
        )
    if not _LEGAL.fullmatch(text) or _BROKEN_ESCAPE.search(text):
        raise ValueError(
            f"{shown}: an address must have no spaces, control characters or others that URLs do not have; "
            "write them as %XX, such as %20 for a space"
        )


def split_url(text: str, schemes: Collection[str]) -> SplitResult:
    """Take a URL apart, with a host and a port that are valid, and written in the usual way.

    Args:
        text: The URL; see `check_characters`.
        schemes: What it may begin with.

    Raises:
        ValueError: It has another scheme, no host, a port that is none, or `..` in its path.
    """
    if text.partition("://")[0].lower() not in schemes or "://" not in text:
        raise ValueError(f"{text} must begin with {', '.join(f'{scheme}://' for scheme in schemes)}")
    try:
        parts = urlsplit(text)
        netloc = _netloc(parts)
    except ValueError as error:
        raise ValueError(
            f"{text} must name a host, and a port of 1 to 65535 or none ({error}); an IPv6 address is "
            "written in brackets, as in http://[::1]:8501"
        ) from error
    if {".", ".."} & {unquote(segment) for segment in parts.path.split("/")}:
        raise ValueError(f"{text} must have no '.' and no '..' as a part of its path")
    return parts._replace(netloc=netloc)


def _netloc(parts: SplitResult) -> str:
    if not _NETLOC.fullmatch(parts.netloc):
        raise ValueError(f"{parts.netloc!r} is no host with a port")
    if parts.port == 0:
        raise ValueError("there is no port 0")
    host = _host(parts.hostname or "", is_ipv6=parts.netloc.startswith("["))
    return host if parts.port is None else f"{host}:{parts.port}"


def _host(name: str, *, is_ipv6: bool) -> str:
    if is_ipv6:
        if "%" in name:  # which a URL would have to escape, and libraries read in several ways
            raise ValueError("an address with a zone cannot be used")
        return f"[{ipaddress.IPv6Address(name)}]"
    if re.fullmatch(r"[0-9.]+", name):
        return str(ipaddress.IPv4Address(name))  # 127.1 is refused
    if not _HOST.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a host")
    return name
