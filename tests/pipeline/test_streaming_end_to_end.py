"""A whole streaming job between emulators: a bucket that notifies, Pub/Sub, the pipeline, BigQuery."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.cloud.pubsub_v1.publisher.exceptions import MessageTooLargeError

from emulators.bigquery import PROJECT
from emulators.pubsub import create_subscription, create_topic, publish, pull
from emulators.storage import fake_gcs_server, notification_flags, storage_client_of
from options import SinkOptions, parse
from pipeline import preflight
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.local_streaming import run_until_stopped
from pipeline.prepare import prepare_outputs
from pipeline.summary import Summary
from tests.conftest import IMAGES, MODEL, rows, run

SECONDS = 120.0
BUCKET = "drops"

_numbers = itertools.count()


@dataclass
class Job:
    """A job that runs in this process, until it has seen enough."""

    flags: Sequence[str]
    summary: Summary | None = None
    error: BaseException | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Job:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            options = parse([*self.flags, "--model", str(MODEL), "--signature", "from_bytes"])
            predictor = preflight.check(options)
            prepare_outputs(options, predictor.signature)
            steps = make_steps(options, predictor)
            result = run_until_stopped(
                options, lambda pipeline: build(pipeline, steps), max_seconds=SECONDS, stop=self.stop
            )
            sink = options.view_as(SinkOptions)
            self.summary = Summary.of(result, predictor, seconds=1.0, sink=sink)
        except BaseException as error:
            self.error = error


@dataclass(frozen=True)
class Channel:
    """A topic and a subscription of a test's own."""

    topic: str
    subscription: str


@pytest.fixture
def channel(pubsub: str) -> Callable[[], Channel]:
    def make() -> Channel:
        number = next(_numbers)
        topic = create_topic(f"topic-{number}")
        return Channel(topic, create_subscription(f"subscription-{number}", topic))

    return make


@pytest.fixture
def bucket(pubsub: str, channel: Callable[[], Channel]) -> Iterator[tuple[Any, Channel]]:
    """A bucket whose new objects are told to a channel."""
    told = channel()
    project, _, topic = told.topic.removeprefix("projects/").partition("/topics/")
    with (
        fake_gcs_server(*notification_flags(project, topic, BUCKET)) as host,
        storage_client_of(host) as client,
    ):
        yield client.create_bucket(BUCKET), told


def messages(subscription: str, count: int) -> list[dict[str, Any]]:
    found = [json.loads(message.data) for message in pull(subscription, count, SECONDS)]
    assert len(found) == count
    return found


def test_an_upload_becomes_a_row_and_a_bad_one_a_row_of_the_dead_letters(
    bucket: tuple[Any, Channel], channel: Callable[[], Channel], bigquery: Any, tmp_path: Path
) -> None:
    place, told = bucket
    dataset = f"digits_{next(_numbers)}"
    bigquery.create_dataset(dataset)
    table, seen = f"{PROJECT}.{dataset}.predictions", channel()
    flags = (
        *("--input_subscription", told.subscription, "--output", f"bigquery:{table}"),
        *("--output", str(tmp_path / "out"), "--window", "1", "--output", f"pubsub:{seen.topic}"),
    )
    for image in IMAGES[:20]:
        place.blob(image.name).upload_from_filename(str(image))
    place.blob("cut.png").upload_from_string(IMAGES[0].read_bytes()[:40])
    place.blob(IMAGES[0].name).delete()
    place.blob(IMAGES[1].name).upload_from_filename(str(IMAGES[30]))  # over what was notified of

    with Job(flags) as job:
        published = messages(seen.subscription, 19)  # all but the contents that are gone

    assert job.summary is not None
    assert job.summary.unaccounted == 0
    assert job.summary.dead_letters == {"decode/DecodeError": 1, "read/FileMissing": 2}
    assert 0 < job.summary.arrival_to_prediction_seconds["median"] < SECONDS  # from the publishing on
    assert job.summary.skipped == {"OBJECT_DELETE": 2}  # of the overwritten content too
    ids = {record["prediction_id"] for record in published}
    written = list(bigquery.query(f"SELECT prediction_id FROM `{table}`").result())
    assert {row["prediction_id"] for row in written} == ids
    assert {row["prediction_id"] for row in rows(tmp_path / "out", "predictions")} == ids
    dead = list(bigquery.query(f"SELECT uri, stage, error FROM `{table}_dead_letters`").result())
    assert {(row["uri"], row["stage"], row["error"]) for row in dead} == {
        (f"gs://{BUCKET}/cut.png", "decode", "DecodeError"),
        (f"gs://{BUCKET}/{IMAGES[0].name}", "read", "FileMissing"),
        (f"gs://{BUCKET}/{IMAGES[1].name}", "read", "FileMissing"),
    }


def test_the_same_files_have_the_same_predictions_by_a_glob_and_by_notifications(
    bucket: tuple[Any, Channel], channel: Callable[[], Channel], bigquery: Any, tmp_path: Path
) -> None:
    place, told = bucket
    seen, dataset = channel(), f"digits_{next(_numbers)}"
    bigquery.create_dataset(dataset)
    table = f"{PROJECT}.{dataset}.predictions"
    for image in IMAGES:
        place.blob(image.name).upload_from_filename(str(image))
    flags = (
        *("--input_subscription", told.subscription, "--output", f"pubsub:{seen.topic}"),
        *("--output", f"bigquery:{table}", "--output", str(tmp_path / "files"), "--window", "1"),
    )
    with Job(flags) as job:
        streamed = messages(seen.subscription, len(IMAGES))
    assert job.summary is not None
    assert job.summary.unaccounted == 0

    batch = run(
        *("--input", f"gs://{BUCKET}/*.png", "--model", MODEL, "--signature", "from_bytes"),
        output=tmp_path / "batch",
    )
    assert batch.code == 0, batch.complaints

    def outputs(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {record["prediction_id"]: record["outputs"] for record in records}

    query = f"SELECT prediction_id, outputs.label, outputs.scores FROM `{table}`"
    in_table = {
        row["prediction_id"]: {"label": row["label"], "scores": row["scores"]}
        for row in bigquery.query(query).result()
    }
    expected = outputs(batch.predictions)
    for found in (outputs(streamed), outputs(rows(tmp_path / "files", "predictions")), in_table):
        assert found.keys() == expected.keys()
        for name, values in found.items():
            assert values["label"] == expected[name]["label"]
            assert values["scores"] == pytest.approx(expected[name]["scores"], abs=1e-5)


def test_a_message_as_large_as_pubsub_takes_passes_and_a_larger_one_is_never_published(
    channel: Callable[[], Channel], tmp_path: Path
) -> None:
    told, bad = channel(), channel()
    content = base64.b64encode(bytes(7_000_000)).decode()
    large = json.dumps({"uri": "large", "content": content}).encode()
    with pytest.raises(MessageTooLargeError):
        publish(told.topic, [(b"x" * 11_000_000, {})])
    publish(told.topic, [(large, {}), (b"", {"shop": "7"})])
    flags = ("--input_subscription", told.subscription, "--output", str(tmp_path / "out"))

    with Job((*flags, "--dead_letters", f"pubsub:{bad.topic}")) as job:
        dead = messages(bad.subscription, 2)

    assert {(record["uri"], record["error"]) for record in dead} == {
        ("large", "DecodeError"),
        (None, "ParseError"),
    }
    assert job.summary is not None
    assert job.summary.unaccounted == 0


MESSAGES = 10_000
EMPTY_FOLDER = "/no/such/folder"
KINDS = {0: "malformed", 1: "malformed", 2: "missing", 3: "corrupt", **dict.fromkeys(range(4, 9), "again")}
"""What one message in a hundred is; all others bring a digit."""


def test_every_one_of_many_messages_is_accounted_for_by_id(
    channel: Callable[[], Channel],
) -> None:
    told, seen, bad = channel(), channel(), channel()
    kinds = [KINDS.get(number % 100, "digit") for number in range(MESSAGES)]
    publish(told.topic, [message(kind, number) for number, kind in enumerate(kinds)])
    numbers = {kind: {number for number in range(MESSAGES) if kinds[number] == kind} for kind in set(kinds)}
    flags = (
        *("--input_subscription", told.subscription, "--allowed_prefix", EMPTY_FOLDER),
        *("--output", f"pubsub:{seen.topic}", "--dead_letters", f"pubsub:{bad.topic}"),
    )

    with Job(flags) as job:
        predicted = messages(seen.subscription, len(numbers["digit"]))
        dead = messages(
            bad.subscription, sum(len(numbers[kind]) for kind in ("malformed", "missing", "corrupt"))
        )

    assert job.summary is not None
    assert (job.summary.inputs, job.summary.unaccounted) == (MESSAGES, 0)
    assert job.summary.skipped == {"duplicate": len(numbers["again"])}
    assert {record["attributes"]["number"] for record in predicted} == numbers["digit"]
    assert len({record["prediction_id"] for record in predicted}) == len(predicted)
    by_error: dict[str, list[Any]] = {}
    for record in dead:
        by_error.setdefault(record["error"], []).append(record)
    assert {record["attributes"]["number"] for record in by_error["FileMissing"]} == numbers["missing"]
    assert {record["attributes"]["number"] for record in by_error["DecodeError"]} == numbers["corrupt"]
    assert sorted(int(record["payload"].split()[1]) for record in by_error["ParseError"]) == sorted(
        numbers["malformed"]
    )


def message(kind: str, number: int) -> tuple[bytes, dict[str, str]]:
    """Make a message of a kind; each but those that come again is of another file."""
    if kind == "malformed":
        return b"{broken %d }" % number, {}
    if kind == "missing":
        return json.dumps({"uri": f"{EMPTY_FOLDER}/{number}.png", "number": number}).encode(), {}
    if kind == "again":
        number = number // 100 * 100 + 9  # as the digit that comes then
    image = IMAGES[number % len(IMAGES)].read_bytes()
    content = base64.b64encode(image[:40] if kind == "corrupt" else image).decode()
    return json.dumps({"uri": f"gs://b/{number}.png", "content": content, "number": number}).encode(), {}
