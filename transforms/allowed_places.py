"""Which files strangers may name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from transforms import storage
from transforms.errors import PlaceNotAllowed

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SEPARATOR = re.compile(r"[/\\]")
_FILE_SCHEME = re.compile(r"file:", re.IGNORECASE)


@dataclass(frozen=True)
class AllowedPlaces:
    """Where files may be that somebody else has named, in a message for example.

    Attributes:
        prefixes: Names and folders, with all that is below them: `gs://bucket`, `gs://bucket/photos`,
            `/data/in`. They end at slashes: `gs://bucket` allows nothing in `gs://bucket-evil`. Empty for all
            remote file systems, and nothing on this machine.
    """

    prefixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse prefixes under which nothing is ever allowed, or whose meaning depends on the place."""
        for prefix in self.prefixes:
            problem = _problem(prefix) or _prefix_problem(prefix)
            if problem:
                raise ValueError(
                    f"the allowed prefix {prefix!r} {problem}; write gs://BUCKET/FOLDER or /FOLDER"
                )

    def check(self, uri: str) -> None:
        """Let a name pass.

        Raises:
            PlaceNotAllowed: What it names may not be read.
        """
        problem = _problem(uri) or self._outside(uri)
        if problem:
            raise PlaceNotAllowed(f"the name {problem}: {uri!r}", uri)

    def _outside(self, uri: str) -> str | None:
        if any(_is_under(uri, prefix) for prefix in self.prefixes):
            return None
        if self.prefixes:
            return f"is not under {' or '.join(self.prefixes)} (--allowed_prefix)"
        if storage.is_local(uri) or _FILE_SCHEME.match(uri):
            return "is not of a remote file system, as gs:// is (--allowed_prefix allows others)"
        return None


def _problem(name: str) -> str | None:
    """Tell what makes a name one that means more than it shows."""
    if _CONTROL.search(name):
        return "has control characters"
    if ".." in _SEPARATOR.split(unquote(name)):  # some file systems decode names
        return "has a part .., which leads elsewhere"
    return None


def _prefix_problem(prefix: str) -> str | None:
    if _FILE_SCHEME.match(prefix):
        return "has a scheme that is not read"
    if storage.is_local(prefix) and not prefix.startswith("/"):
        return "is no absolute place"
    return None


def _is_under(uri: str, prefix: str) -> bool:
    return uri == prefix or uri.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
