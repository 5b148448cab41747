"""From records to messages."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from transforms.errors import RecordTooLarge, RowRefused, WriteError
from transforms.json_values import record_to_json
from transforms.records import DeadLetter
from transforms.results import DEAD_LETTERS, Results, results_of
from transforms.schemas import Record
from transforms.sinks.refused import refused

# https://cloud.google.com/pubsub/quotas#resource_limits
MAX_REQUEST_MESSAGES = 1_000
MAX_REQUEST_BYTES = 10_000_000
MAX_ATTRIBUTE_BYTES = 1_024

ATTRIBUTES = ("prediction_id", "uri", "model_version", "stage", "error")
"""The fields that are attributes of a message too, for subscriptions to filter by."""

REQUEST_SECONDS = 30.0
RETRY_SECONDS = 120.0

_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_OVERHEAD_BYTES = 16  # of a message in a request


@dataclass(eq=False)
class ToPubSub(beam.PTransform[PCollection[Record], Results]):
    """Publish a message for each record: the same JSON as a line of a JSON Lines file.

    The messages of a bundle are published before the bundle is done, so none is lost; one that is tried again
    publishes again, with the same `prediction_id`. What Pub/Sub does not take, such as what a topic's schema
    does not allow, becomes a dead letter; where the topic itself is missing the bundle fails.

    Attributes:
        topic: `projects/PROJECT/topics/TOPIC`.
    """

    topic: str

    def __post_init__(self) -> None:
        """Refuse what names no topic."""
        super().__init__()
        if not _TOPIC.fullmatch(self.topic):
            raise ValueError(f"topic is {self.topic!r}; it must be projects/PROJECT/topics/TOPIC")

    def expand(self, records: PCollection[Record]) -> Results:
        """Return the ids that Pub/Sub gave to the messages, and dead letters."""
        return results_of(records, "Publish", beam.ParDo(_Publish(self.topic)), str)


@dataclass(frozen=True)
class Message:
    """What is published of a record."""

    data: bytes
    attributes: dict[str, str]

    @property
    def size(self) -> int:
        """In bytes, as Pub/Sub counts, or a few more."""
        texts = [text for pair in self.attributes.items() for text in pair]
        return len(self.data) + sum(len(text.encode()) + _OVERHEAD_BYTES for text in texts) + _OVERHEAD_BYTES


def message_of(record: Record) -> Message:
    """Make the message of a record; attributes are cut to what Pub/Sub takes, the body is whole."""
    found = {name: getattr(record, name, None) for name in ATTRIBUTES}
    return Message(record_to_json(record), {name: _cut(text) for name, text in found.items() if text})


def _cut(text: str) -> str:
    return text.encode()[:MAX_ATTRIBUTE_BYTES].decode(errors="ignore")


def publish(topic: str, messages: Sequence[Message]) -> list[str | WriteError]:
    """Publish messages that fit into one request.

    Returns:
        For each message its id, or why Pub/Sub does not take it.

    Raises:
        GoogleAPIError: Pub/Sub takes none of them, for a reason that lies in none of them.
    """
    from google.api_core.exceptions import InvalidArgument

    try:
        return _publish(topic, messages)
    except InvalidArgument as error:  # one of them makes it refuse all
        if len(messages) == 1:
            return [RowRefused(f"{topic} refuses the message: {error.message}")]
    half = len(messages) // 2
    return publish(topic, messages[:half]) + publish(topic, messages[half:])


def _publish(topic: str, messages: Sequence[Message]) -> list[str | WriteError]:
    from google.pubsub_v1 import PublisherClient

    sent: Any = [{"data": message.data, "attributes": message.attributes} for message in messages]
    # Not through the client's own batches: these would be shared by all threads, and so would an error.
    answer = PublisherClient.publish(
        _client(), topic=topic, messages=sent, retry=_retry(), timeout=REQUEST_SECONDS
    )
    return list(answer.message_ids)


@functools.lru_cache(maxsize=1)
def _client() -> Any:
    """Make the client of this process, which knows of emulators."""
    import google.cloud.pubsub_v1

    return google.cloud.pubsub_v1.PublisherClient()


@functools.lru_cache(maxsize=1)
def _retry() -> Any:
    from google.api_core import exceptions
    from google.api_core.retry import Retry, if_exception_type

    transient = (
        exceptions.Aborted,
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.ResourceExhausted,
        exceptions.ServiceUnavailable,
        exceptions.Unknown,
    )
    return Retry(if_exception_type(*transient), timeout=RETRY_SECONDS)


@dataclass(frozen=True)
class _Waiting:
    """A record that is not yet published, and where it belongs."""

    record: Record
    message: Message
    timestamp: Any
    window: Any


_Published = WindowedValue | TaggedOutput[str, Any]


class _Publish(beam.DoFn):
    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._waiting: list[_Waiting] = []
        self._bytes = 0

    def start_bundle(self) -> None:
        self._clear()  # of a bundle that failed, and that will come again

    def process(
        self,
        record: Record,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[_Published]:
        waiting = _Waiting(record, message_of(record), timestamp, window)
        size = waiting.message.size
        limit = MAX_REQUEST_BYTES - len(self._topic) - _OVERHEAD_BYTES
        if size > limit:
            error = RecordTooLarge(f"the message would have {size:,} bytes; {self._topic} takes {limit:,}")
            yield _at(waiting, error)
            return
        if self._bytes + size > limit or len(self._waiting) == MAX_REQUEST_MESSAGES:
            yield from self._flush()
        self._waiting.append(waiting)
        self._bytes += size

    def finish_bundle(self) -> Iterator[_Published]:
        yield from self._flush()

    def _flush(self) -> Iterator[_Published]:
        waiting = list(self._waiting)
        self._clear()
        if waiting:
            outcomes = publish(self._topic, [item.message for item in waiting])
            yield from map(_at, waiting, outcomes)

    def _clear(self) -> None:
        self._waiting.clear()
        self._bytes = 0


def _at(waiting: _Waiting, outcome: str | WriteError) -> _Published:
    """Put what became of a record where the record was: another may have been at work since."""
    value = refused(waiting.record, outcome) if isinstance(outcome, WriteError) else outcome
    placed = WindowedValue(value, waiting.timestamp, (waiting.window,))
    return TaggedOutput(DEAD_LETTERS, placed) if isinstance(value, DeadLetter) else placed
