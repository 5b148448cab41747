"""From the messages of Pub/Sub to the files to predict on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.pvalue import PBegin, PCollection, TaggedOutput

from transforms.allowed_places import AllowedPlaces
from transforms.errors import ParseError
from transforms.metrics import count_dead_letter, count_input, count_skipped
from transforms.records import DeadLetter, FileRef
from transforms.results import DEAD_LETTERS, Results, results_of
from transforms.sources.drop_duplicates import DropDuplicates
from transforms.sources.messages import MESSAGE_FORMATS, Skipped, parse_message

DEFAULT_DEDUPE_SECONDS = 600.0


@dataclass(eq=False)
class FromPubSub(beam.PTransform[PBegin, Results]):
    """Listen to messages, each of which names a file or brings one: see `parse_message`.

    Attributes:
        subscription: `projects/PROJECT/subscriptions/NAME`.
        topic: `projects/PROJECT/topics/NAME`, in place of a subscription: the runner makes one for the job.
        message_format: One of `MESSAGE_FORMATS`.
        timestamp_attribute: The attribute with the time of a message, as RFC 3339 or in milliseconds since
            1970; None for the time when it was published.
        id_label: The attribute by which Dataflow drops messages that come twice; no other runner does.
        allowed: Where the files may be. What a message brings is read nowhere, and so always allowed.
        dedupe_seconds: How long a file that was named is remembered, so that it is predicted on once; 0 for
            not at all.
    """

    subscription: str | None = None
    topic: str | None = None
    message_format: str = "auto"
    timestamp_attribute: str | None = None
    id_label: str | None = None
    allowed: AllowedPlaces = field(default_factory=AllowedPlaces)
    dedupe_seconds: float = DEFAULT_DEDUPE_SECONDS

    def __post_init__(self) -> None:
        """Refuse what names no source, and formats that no message has."""
        super().__init__()
        if bool(self.subscription) == bool(self.topic):
            raise ValueError("give either a subscription or a topic")
        if self.message_format not in MESSAGE_FORMATS:
            raise ValueError(
                f"message_format is {self.message_format!r}; it must be one of {', '.join(MESSAGE_FORMATS)}"
            )
        if self.dedupe_seconds < 0:
            raise ValueError(f"dedupe_seconds is {self.dedupe_seconds}; it must be at least 0")

    def expand(self, begin: PBegin) -> Results:
        """Return the `FileRef`s, and the dead letters of what names no file."""
        messages = begin | "Messages" >> ReadFromPubSub(
            topic=self.topic,
            subscription=self.subscription,
            id_label=self.id_label,
            with_attributes=True,
            timestamp_attribute=self.timestamp_attribute,
        )
        return files_of_messages(messages, self.message_format, self.allowed, self.dedupe_seconds)


def files_of_messages(
    messages: PCollection[PubsubMessage], message_format: str, allowed: AllowedPlaces, dedupe_seconds: float
) -> Results:
    """Return the files that messages ask for; see `FromPubSub`."""
    parsed = results_of(messages, "Parse", beam.FlatMap(_parsed, message_format, allowed), FileRef)
    if not dedupe_seconds:
        return parsed
    return parsed._replace(main=parsed.main | "DropDuplicates" >> DropDuplicates(dedupe_seconds))


def _parsed(
    message: PubsubMessage, message_format: str, allowed: AllowedPlaces
) -> Iterator[FileRef | TaggedOutput[str, DeadLetter]]:
    count_input()
    ref = None
    try:
        parsed = parse_message(message.data, message.attributes or {}, message.message_id, message_format)
        if isinstance(parsed, Skipped):
            count_skipped(parsed.reason)
            return
        ref = replace(parsed, arrived=_published(message))
        if ref.content is None:
            allowed.check(ref.uri)
    except ParseError as error:
        yield TaggedOutput(DEAD_LETTERS, count_dead_letter(DeadLetter.of(error, ref)))
    else:
        yield ref


def _published(message: PubsubMessage) -> float | None:
    return message.publish_time.timestamp() if message.publish_time else None
