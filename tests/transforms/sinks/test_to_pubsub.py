"""From records to messages, read back from a real emulator."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms.window import FixedWindows, IntervalWindow, TimestampedValue
from google.api_core.exceptions import NotFound

from emulators.pubsub import create_subscription, create_topic, pull
from tests.transforms.pipelines import collect, collect_with_times, local_pipeline
from tests.transforms.sinks.test_to_files import RECORDS
from transforms.errors import FileMissing, RowRefused
from transforms.json_values import record_to_json
from transforms.records import DeadLetter, FileRef
from transforms.schemas import Record
from transforms.sinks import to_pubsub
from transforms.sinks.to_pubsub import MAX_REQUEST_BYTES, Message, ToPubSub, message_of, publish

NUMBERS = itertools.count()
TOO_LONG = "x" * MAX_REQUEST_BYTES
LETTER = DeadLetter.of(FileMissing("there is no file"), FileRef("a.png", 3, attributes={"x": [1]}))


@pytest.fixture
def topic(pubsub: str) -> str:
    return create_topic(f"out-{next(NUMBERS)}")


@pytest.fixture
def subscription(topic: str) -> str:
    return create_subscription(f"out-{next(NUMBERS)}", topic)


def write(records: Iterable[Record], topic: str) -> tuple[list[str], list[DeadLetter]]:
    with local_pipeline() as pipeline:
        results = pipeline | beam.Create(list(records)) | ToPubSub(topic)
        ids, letters = collect(results.main), collect(results.dead_letters)
    return ids, letters


def bodies(messages: Iterable[Any]) -> list[Any]:
    return sorted((json.loads(message.data) for message in messages), key=lambda body: str(body["uri"]))


class TestMessages:
    def test_each_record_is_a_message(self, topic: str, subscription: str) -> None:
        ids, letters = write(RECORDS, topic)
        messages = pull(subscription, len(RECORDS))
        assert sorted(message.message_id for message in messages) == sorted(ids)
        assert bodies(messages) == sorted(
            (json.loads(record_to_json(record)) for record in RECORDS), key=lambda body: str(body["uri"])
        )
        assert letters == []

    def test_a_prediction_s_attributes_name_it(self, topic: str, subscription: str) -> None:
        write(RECORDS[7:8], topic)
        (message,) = pull(subscription, 1)
        assert dict(message.attributes) == {"prediction_id": "7", "uri": "7.png", "model_version": "1"}

    def test_a_dead_letter_s_attributes_tell_the_error(self, topic: str, subscription: str) -> None:
        write([LETTER], topic)
        (message,) = pull(subscription, 1)
        assert dict(message.attributes) == {"uri": "a.png", "stage": "read", "error": "FileMissing"}
        assert json.loads(message.data)["attributes"] == {"x": [1]}

    def test_a_stream_is_published_as_it_comes(self, topic: str, subscription: str) -> None:
        stream = Stream()
        for record in RECORDS[:5]:
            stream = stream.add_elements([record])
        options = PipelineOptions(streaming=True)
        with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
            _ = pipeline | stream.advance_watermark_to_infinity() | ToPubSub(topic)
        assert len(bodies(pull(subscription, 5))) == 5

    def test_what_comes_out_stays_in_its_window(self, topic: str) -> None:
        records = [RECORDS[0], RECORDS[11], replace(RECORDS[12], uri=TOO_LONG)]
        with local_pipeline() as pipeline:
            results = (
                pipeline
                | beam.Create(records)
                | beam.Map(lambda record: TimestampedValue(record, record.generation))
                | beam.WindowInto(FixedWindows(10))
                | ToPubSub(topic)
            )
            published = collect_with_times(results.main)
            refused = collect_with_times(results.dead_letters)
        windows = [IntervalWindow(0, 10), IntervalWindow(10, 20)]
        assert sorted(window for _, _, window in published) == windows
        assert [(time, window) for _, time, window in refused] == [(12, windows[1])]

    @pytest.mark.parametrize("character", ["x", "é", "€", "🙂"])
    def test_attributes_are_cut_between_characters(self, character: str) -> None:
        uri = "_" + character * 1_100
        cut = message_of(replace(RECORDS[0], uri=uri)).attributes["uri"]
        assert uri.startswith(cut)
        assert 1_020 < len(cut.encode()) <= 1_024
        assert json.loads(message_of(replace(RECORDS[0], uri=uri)).data)["uri"] == uri

    @pytest.mark.parametrize("topic", ["photos", "projects/p/topics/", "projects/p/subscriptions/s", ""])
    def test_what_names_no_topic_is_refused(self, topic: str) -> None:
        with pytest.raises(ValueError, match="it must be projects/PROJECT/topics/TOPIC"):
            ToPubSub(topic)


class TestRefused:
    def test_a_record_that_is_too_large_is_a_dead_letter_and_harms_no_other(
        self, topic: str, subscription: str
    ) -> None:
        large = replace(RECORDS[5], attributes={"text": TOO_LONG})
        ids, (letter,) = write([*RECORDS[:5], large, *RECORDS[6:10]], topic)
        assert len(ids) == len(pull(subscription, 9)) == 9
        assert (letter.stage, letter.error, letter.retryable) == ("write", "RecordTooLarge", False)
        assert (letter.prediction_id, letter.uri, letter.generation) == ("5", "5.png", 5)
        assert (letter.model_version, letter.attributes) == ("1", large.attributes)
        assert f"{topic} takes 9,9" in letter.message

    def test_what_fits_into_a_message_but_not_beside_others_is_published(
        self, topic: str, subscription: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(to_pubsub, "MAX_REQUEST_BYTES", 2_000)
        large = [replace(record, attributes={"text": "x" * 1_200}) for record in RECORDS[:3]]
        ids, letters = write([*RECORDS[3:9], *large], topic)
        assert (len(ids), letters) == (9, [])
        assert len(pull(subscription, 9)) == 9

    def test_more_than_one_request_takes_are_published(
        self, topic: str, subscription: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(to_pubsub, "MAX_REQUEST_MESSAGES", 7)
        ids, letters = write(RECORDS, topic)
        assert (len(set(ids)), letters) == (100, [])
        assert len(bodies(pull(subscription, 100))) == 100

    @pytest.mark.parametrize("bad", [{0}, {4}, {8}, {0, 3, 4, 8}, set(range(9))])
    def test_what_pubsub_refuses_is_told_from_what_it_takes(
        self, topic: str, subscription: str, bad: set[int]
    ) -> None:
        messages = [Message(b"" if n in bad else str(n).encode(), {}) for n in range(9)]  # none may be empty
        outcomes = publish(topic, messages)
        assert {n for n, outcome in enumerate(outcomes) if isinstance(outcome, RowRefused)} == bad
        taken = sorted(str(n).encode() for n in range(9) if n not in bad)
        assert sorted(message.data for message in pull(subscription, len(taken))) == taken

    def test_a_refused_record_s_dead_letter_has_pubsub_s_reason(
        self, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(to_pubsub, "message_of", lambda record: Message(b"", {}))
        ids, (letter,) = write([LETTER], topic)
        assert ids == []
        assert (letter.stage, letter.error, letter.uri) == ("write", "RowRefused", "a.png")
        assert letter.message.startswith(f"{topic} refuses the message: ")
        assert len(letter.message) > len(f"{topic} refuses the message: ")

    def test_a_dead_letter_without_a_uri_can_be_refused(self, topic: str) -> None:
        nameless = replace(LETTER, uri=None, payload=TOO_LONG)
        _, (letter,) = write([nameless], topic)
        assert (letter.uri, letter.error) == (None, "RecordTooLarge")

    def test_a_topic_that_is_not_there_fails_the_bundle(self, topic: str) -> None:
        with pytest.raises(NotFound):
            publish(f"{topic}-missing", [Message(b"x", {})])
