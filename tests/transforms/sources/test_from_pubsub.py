"""Messages as the source of a pipeline."""

from __future__ import annotations

import base64
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from emulators.pubsub import create_subscription, create_topic, publish
from tests.transforms.pipelines import collect
from transforms.allowed_places import AllowedPlaces
from transforms.records import DeadLetter, FileRef
from transforms.sources.from_pubsub import FromPubSub, files_of_messages

SUBSCRIPTION = "projects/some-project/subscriptions/some-subscription"
PNG_B64 = base64.b64encode(b"\x89PNG").decode()

SECONDS = 30.0

Outcome = tuple[list[FileRef], list[DeadLetter], Counter[str]]


def message(data: bytes = b"", message_id: str = "1", **attributes: str) -> PubsubMessage:
    return PubsubMessage(data, attributes, message_id=message_id)


def notification(name: str, generation: str = "1", event: str = "OBJECT_FINALIZE") -> PubsubMessage:
    return message(eventType=event, bucketId="bucket", objectId=name, objectGeneration=generation)


def outcome(
    messages: Sequence[PubsubMessage],
    message_format: str = "auto",
    allowed: AllowedPlaces | None = None,
    dedupe_seconds: float = 600.0,
) -> Outcome:
    """Return the files, the dead letters, and what was counted of the messages."""
    pipeline = beam.Pipeline(runner=FnApiRunner())
    created = pipeline | beam.Create(messages)
    results = files_of_messages(created, message_format, allowed or AllowedPlaces(), dedupe_seconds)
    files, letters = collect(results.main), collect(results.dead_letters)
    result = pipeline.run()
    counters = result.metrics().query(MetricsFilter().with_namespace("beam_predict"))["counters"]
    return files, letters, Counter({counter.key.metric.name: counter.committed for counter in counters})


def test_a_file_arrives_when_its_message_was_published() -> None:
    published = datetime(2026, 1, 31, 12, 0, 0, 250_000, timezone.utc)
    known = PubsubMessage(b"gs://bucket/a.png", {}, message_id="1", publish_time=published)
    files, _, _ = outcome([known, message(b"gs://bucket/b.png")])
    assert {ref.uri: ref.arrived for ref in files} == {
        "gs://bucket/a.png": published.timestamp(),
        "gs://bucket/b.png": None,
    }


def test_every_kind_of_message_becomes_a_file() -> None:
    files, letters, counted = outcome(
        [
            notification("a.png"),
            message(b"gs://bucket/b.png"),
            message(b'{"uri": "gs://bucket/c.png", "label": 3}'),
            message(f'{{"content": "{PNG_B64}"}}'.encode(), message_id="7"),
        ]
    )
    assert sorted(ref.uri for ref in files) == [
        "gs://bucket/a.png",
        "gs://bucket/b.png",
        "gs://bucket/c.png",
        "pubsub:7",
    ]
    assert [ref.content for ref in files if ref.uri == "pubsub:7"] == [b"\x89PNG"]
    assert letters == []
    assert counted == {"inputs": 4}


def test_every_message_is_counted_once_and_has_one_outcome() -> None:
    names = [notification(f"{number}.png") for number in range(50)]
    twice = [notification(f"{number}.png") for number in range(20)]
    events = [notification("0.png", event=event) for event in ("OBJECT_DELETE", "OBJECT_METADATA_UPDATE")]
    bad = [
        message(),
        message(b"\xff"),
        message(b"{"),
        message(b'{"label": 3}'),
        message(b'{"uri": "gs://bucket/a.png", "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
        notification("0.png", generation="latest"),
    ]
    strangers = [message(b"/etc/passwd"), message(b"file:///etc/passwd"), message(b"hello")]
    files, letters, counted = outcome([*names, *twice, *events, *bad, *strangers])
    assert sorted(ref.uri for ref in files) == sorted(f"gs://bucket/{number}.png" for number in range(50))
    assert Counter(letter.error for letter in letters) == {"ParseError": 6, "PlaceNotAllowed": 3}
    assert counted == {
        "inputs": 81,
        "skipped/duplicate": 20,
        "skipped/OBJECT_DELETE": 1,
        "skipped/OBJECT_METADATA_UPDATE": 1,
        "dead_letters/parse/ParseError": 6,
        "dead_letters/parse/PlaceNotAllowed": 3,
    }


def test_an_object_that_is_overwritten_is_predicted_on_again() -> None:
    files, _, counted = outcome([notification("a.png", "1"), notification("a.png", "2")])
    assert sorted(ref.generation or 0 for ref in files) == [1, 2]
    assert not counted["skipped/duplicate"]


def test_without_a_time_to_remember_everything_passes() -> None:
    files, _, counted = outcome([notification("a.png")] * 3, dedupe_seconds=0)
    assert len(files) == 3
    assert counted == {"inputs": 3}


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "a.png",
        "file:///etc/passwd",
        "gs://bucket/../other/a.png",
        "gs://bucket-evil/a.png",
        "gs://bucket/a\x1b.png",
    ],
)
def test_a_file_outside_the_allowed_places_is_a_dead_letter_that_names_it(uri: str) -> None:
    allowed = AllowedPlaces(("gs://bucket",))
    body = b'{"uri": "%s", "label": 3}' % uri.replace("\x1b", "\\u001b").encode()
    files, (letter,), _ = outcome([message(body)], allowed=allowed)
    assert files == []
    assert (letter.stage, letter.error, letter.uri) == ("parse", "PlaceNotAllowed", uri)
    assert (letter.attributes, letter.payload) == ({"label": 3}, uri)


def test_a_notification_of_another_bucket_is_not_read_either() -> None:
    files, (letter,), _ = outcome([notification("../a.png")], allowed=AllowedPlaces(("gs://other",)))
    assert files == []
    assert (letter.error, letter.generation) == ("PlaceNotAllowed", 1)


def test_what_a_message_brings_is_read_nowhere_and_may_have_any_name() -> None:
    (ref,), letters, _ = outcome([message(b"\x89PNG", uri="/etc/passwd")], "bytes")
    assert (ref.uri, ref.content) == ("/etc/passwd", b"\x89PNG")
    assert letters == []


def test_a_message_that_is_nothing_keeps_its_payload() -> None:
    _, (letter,), _ = outcome([message(b'{"label": \xff}', message_id="7")])
    assert (letter.stage, letter.error, letter.uri) == ("parse", "ParseError", None)
    assert letter.payload == '{"label": \\xff}'
    assert "message 7 is not UTF-8" in letter.message


@pytest.mark.parametrize("sources", [{}, {"subscription": SUBSCRIPTION, "topic": "projects/p/topics/t"}])
def test_one_source_must_be_named(sources: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either a subscription or a topic"):
        FromPubSub(**sources)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"message_format": "xml"}, "message_format is 'xml'; it must be one of auto, notification"),
        ({"dedupe_seconds": -1}, "dedupe_seconds is -1; it must be at least 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        FromPubSub(SUBSCRIPTION, **settings)


def test_the_steps_have_stable_names() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    results = pipeline | "Source" >> FromPubSub(SUBSCRIPTION, timestamp_attribute="time", id_label="id")
    assert results.main.producer is not None
    labels = {applied.full_label for applied in pipeline.transforms_stack[0].parts[0].parts}
    assert labels == {"Source/Messages", "Source/Parse", "Source/DropDuplicates"}


class TestOnTheEmulator:
    def test_every_kind_of_message_has_its_outcome(self, pubsub: str) -> None:
        finalized = {
            "eventType": "OBJECT_FINALIZE",
            "bucketId": "bucket",
            "objectId": "a.png",
            "objectGeneration": "12",
        }
        messages: list[tuple[bytes, dict[str, str]]] = [
            (b'{"size": "5"}', finalized),
            (b'{"size": "5"}', finalized),
            (b"", {**finalized, "eventType": "OBJECT_DELETE"}),
            (b"gs://bucket/b.png", {"label": "3"}),
            (f'{{"content": "{PNG_B64}"}}'.encode(), {"uri": "left.png"}),
            (b"", {"content": PNG_B64, "uri": "right.png"}),
            (b"x" * 1_000_000, {}),
            (b"\xff", {}),
            (b"/etc/passwd", {}),
        ]
        with listening(messages) as (files, letters):
            wait_for(lambda: len(files) == 4 and len(letters) == 3)
        assert sorted(files, key=lambda ref: ref.uri) == [
            FileRef("gs://bucket/a.png", 12, 5),
            FileRef("gs://bucket/b.png", attributes={"label": "3"}),
            FileRef("left.png", files_generation(files), 4, content=b"\x89PNG"),
            FileRef("right.png", files_generation(files), 4, content=b"\x89PNG"),
        ]
        assert Counter(letter.error for letter in letters) == {"ParseError": 2, "PlaceNotAllowed": 1}

    def test_a_message_without_a_name_is_called_by_its_id(self, pubsub: str) -> None:
        with listening([(b"", {"content": PNG_B64})]) as (files, letters):
            wait_for(lambda: files or letters)
        assert [ref.uri.partition(":")[0] for ref in files] == ["pubsub"]
        assert files[0].uri.partition(":")[2].isdigit()


def files_generation(files: Sequence[FileRef]) -> int | None:
    """Return the generation of equal bytes."""
    (generation,) = {ref.generation for ref in files if ref.content is not None}
    return generation


@contextlib.contextmanager
def listening(
    messages: Sequence[tuple[bytes, dict[str, str]]],
) -> Iterator[tuple[list[FileRef], list[DeadLetter]]]:
    """Yield what comes of messages to a subscription, while it comes."""
    name = f"test-{uuid.uuid4().hex}"
    topic = create_topic(name)
    subscription = create_subscription(name, topic)
    pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"]))
    results = pipeline | "Source" >> FromPubSub(subscription)
    files, letters = collect(results.main), collect(results.dead_letters)
    publish(topic, messages)
    running = pipeline.run()
    try:
        yield files, letters
    finally:
        publish(topic, [(b"/end", {})])  # an idle pull would hold up the end
        running.cancel()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
