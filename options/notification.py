"""Which bucket tells of its new objects, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from options.flags import Flag, FlagGroup, PubSubPath, Text

_ID = re.compile(r"(?!goog)[A-Za-z][\w.~+%-]{2,254}", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
_SCHEME = "gs://"


class PubSubName(PubSubPath):
    """A subscription or a topic: its path, or its id in a project that is known otherwise."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._kind = kind

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        if _ID.fullmatch(text):
            return text
        try:
            return super().parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or the {self._kind}'s name alone") from None


class Bucket(Text):
    """A bucket of Cloud Storage's."""

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        name = text.removeprefix(_SCHEME).removesuffix("/")
        if not _BUCKET.fullmatch(name):
            raise ValueError("must be the name of a bucket; --prefix takes a folder in it")
        return name


class NotificationOptions(FlagGroup):
    """The flags of `beam-predict notify`; no flags of a pipeline."""

    TITLE = "The bucket, and where it tells of new objects"
    FLAGS = (
        Flag("bucket", "The bucket that new files come into.", Bucket("BUCKET")),
        Flag(
            "prefix",
            "Tell only of objects whose names begin so, such as photos/. Not given: of all.",
            Text("PREFIX"),
        ),
        Flag("topic", "The Pub/Sub topic to tell them to.", PubSubName("topic")),
        Flag(
            "subscription",
            "The subscription to that topic which a job will read. Not given: none, for --input_topic.",
            PubSubName("subscription"),
        ),
        Flag(
            "project",
            "The project of a topic and a subscription that are given without one. Not given: that of your "
            "credentials.",
            Text("PROJECT"),
        ),
        Flag("dry_run", "Say what would be done, and do nothing."),
    )

    # As with Beam's options, what a flag holds is known when it was validated.
    bucket: Any
    prefix: Any
    topic: Any
    subscription: Any
    project: Any
    dry_run: bool

    def __init__(self, values: Mapping[str, Any]) -> None:
        for flag in self.FLAGS:
            setattr(self, flag.name, values[flag.name])

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        return [*self._missing(), *super().validate()]

    def _missing(self) -> Iterator[str]:
        if self.bucket is None:
            yield "--bucket is missing: say which bucket new files come into"
        if self.topic is None:
            yield "--topic is missing: say where the bucket tells of them, e.g. --topic new-photos"
