"""Streams on this machine, stopped when told to; signals are tried on the command, in test_watch.py."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import ReadFromPubSub
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from emulators.pubsub import create_subscription, create_topic, publish
from pipeline.local_streaming import id_label_problem, longest_wait, run_until_stopped
from tests.transforms.pipelines import collect, collect_with_times
from transforms.batch_files import BatchFiles
from transforms.errors import ConfigurationError
from transforms.metrics import NAMESPACE
from transforms.records import FileRef
from transforms.sources.from_pubsub import FromPubSub
from transforms.sources.from_watch import FromWatch

SECONDS = 60.0
PROMPTLY = 20.0  # which Beam's own reader of messages exceeds: it waits for 30 s

Build = Callable[[beam.Pipeline], object]


class Running:
    """A pipeline that runs in a thread until the block ends."""

    def __init__(self, build: Build, **settings: float) -> None:
        self.result: PipelineResult | None = None
        self.error: BaseException | None = None
        self.seconds_to_stop = 0.0
        self._stop = threading.Event()
        self._build = build
        self._settings = {"max_seconds": SECONDS, **settings}
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        begun = time.monotonic()
        self._stop.set()
        self._thread.join(SECONDS)
        self.seconds_to_stop = time.monotonic() - begun
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.result = run_until_stopped(
                PipelineOptions([]), self._build, stop=self._stop, **self._settings
            )
        except BaseException as error:
            self.error = error

    @property
    def counted(self) -> Counter[str]:
        assert self.result is not None, self.error
        return counters(self.result)


def counters(result: PipelineResult) -> Counter[str]:
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    return Counter({counter.key.metric.name: counter.committed for counter in found})


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def topic(pubsub: str) -> str:
    return create_topic(f"topic-{uuid.uuid4().hex}")


@pytest.fixture
def subscription(topic: str) -> str:
    return create_subscription(f"subscription-{uuid.uuid4().hex}", topic)


def names_of(messages: Iterable[int]) -> list[str]:
    return [f"gs://bucket/{number}.png" for number in messages]


def publish_names(topic: str, numbers: Iterable[int]) -> None:
    publish(topic, [(name.encode(), {}) for name in names_of(numbers)])


class Batches:
    """What comes out of a pipeline that listens and batches."""

    def __init__(self, subscription: str, size: int = 8, wait: float = 0.2) -> None:
        self._subscription = subscription
        self._batch = BatchFiles(size, max_wait_seconds=wait)
        self.batches: list[list[FileRef]] = []

    def build(self, pipeline: beam.Pipeline) -> None:
        files = pipeline | FromPubSub(subscription=self._subscription)
        self.batches = collect(files.main | self._batch)

    def names(self) -> list[str]:
        return sorted(ref.uri for batch in self.batches for ref in batch)


class TestMessages:
    def test_a_lone_message_comes_out_though_nothing_follows(self, topic: str, subscription: str) -> None:
        out = Batches(subscription)
        with Running(out.build):
            publish_names(topic, [0])
            wait_for(lambda: out.names() == names_of([0]))  # it runs: what follows is not the start
            published = time.monotonic()
            publish_names(topic, [1])
            wait_for(lambda: len(out.names()) == 2)
            assert time.monotonic() - published < PROMPTLY

    def test_nothing_is_lost_of_many_and_batches_are_filled_across_bundles(
        self, topic: str, subscription: str
    ) -> None:
        out = Batches(subscription, size=32)
        with Running(out.build) as running:
            publish_names(topic, range(1_000))
            wait_for(lambda: len(out.names()) == 1_000)
        assert out.names() == sorted(names_of(range(1_000)))
        assert max(map(len, out.batches)) == 32
        assert running.counted == {"inputs": 1_000}

    def test_a_topic_is_listened_to_by_a_subscription_that_goes_with_the_run(self, topic: str) -> None:
        found: list[FileRef] = []

        def build(pipeline: beam.Pipeline) -> None:
            nonlocal found
            found = collect((pipeline | FromPubSub(topic=topic)).main)

        with Running(build) as running:
            wait_for(lambda: len(subscriptions_of(topic)) == 1)
            publish_names(topic, [1])
            wait_for(lambda: len(found) == 1)
        assert running.result is not None
        assert subscriptions_of(topic) == []

    def test_a_time_that_is_none_is_the_time_of_publishing(self, topic: str, subscription: str) -> None:
        found: list[Any] = []

        def build(pipeline: beam.Pipeline) -> None:
            nonlocal found
            read = ReadFromPubSub(subscription=subscription, timestamp_attribute="at")
            found = collect_with_times(pipeline | read)

        told = {
            "millis": "1700000000123",
            "rfc": "2023-11-14T22:13:20.5Z",
            "none": "yesterday",
            "odd": "\u0663",
        }
        before = time.time()
        with Running(build):
            publish(topic, [(name.encode(), {"at": value}) for name, value in told.items()])
            wait_for(lambda: len(found) == len(told))
        times = {name.decode(): float(timestamp) for name, timestamp, _ in found}
        assert times["millis"] == pytest.approx(1700000000.123)
        assert times["rfc"] == pytest.approx(1700000000.5)
        assert times["none"] >= before - 1
        assert times["odd"] >= before - 1


class TestStopping:
    def test_an_idle_run_ends_promptly_and_is_done(self, topic: str, subscription: str) -> None:
        out = Batches(subscription)
        with Running(out.build) as running:
            publish_names(topic, [1])
            wait_for(lambda: len(out.names()) == 1)
        assert running.seconds_to_stop < PROMPTLY
        assert running.result is not None
        assert running.result.state == PipelineState.DONE
        assert running.counted == {"inputs": 1}

    def test_what_waits_for_its_batch_comes_out_and_in_its_window(
        self, topic: str, subscription: str
    ) -> None:
        counts: list[int] = []
        listed = threading.Event()

        def build(pipeline: beam.Pipeline) -> None:
            nonlocal counts
            files = (pipeline | FromPubSub(subscription=subscription)).main
            batches = (
                files | "Tell" >> beam.Map(_tell, _remember(listed)) | BatchFiles(8, max_wait_seconds=1.0)
            )
            ages = FixedWindows(3_600)  # longer than the test
            windowed = batches | beam.Map(len) | "Arrive" >> beam.Map(_arrived) | beam.WindowInto(ages)
            counts = collect(windowed | beam.CombineGlobally(sum).without_defaults())

        with Running(build):
            publish_names(topic, range(3))
            assert listed.wait(SECONDS)
        assert sum(counts) == 3

    def test_what_takes_too_long_is_given_up(
        self, topic: str, subscription: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def build(pipeline: beam.Pipeline) -> None:
            files = (pipeline | FromPubSub(subscription=subscription)).main
            files | beam.Map(_hang, _remember(begun), _remember(go_on))

        try:
            with Running(build, drain_seconds=0.2) as running:
                publish_names(topic, [1])
                assert begun.wait(SECONDS)
        finally:
            go_on.set()
        assert running.seconds_to_stop < 2 * PROMPTLY  # it is waited for once more, while it is cancelled
        assert running.result is not None
        assert "the rest is lost" in caplog.text
        assert running.counted == {"inputs": 1}

    def test_the_time_ends_a_run(self, subscription: str) -> None:
        result = run_until_stopped(PipelineOptions([]), Batches(subscription).build, max_seconds=0.2)
        assert result.state == PipelineState.DONE

    def test_what_a_step_raises_ends_the_run(self, topic: str, subscription: str) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            (pipeline | FromPubSub(subscription=subscription)).main | beam.Map(_fail)

        publish_names(topic, [1])
        with pytest.raises(RuntimeError, match="as it was told to"):
            run_until_stopped(PipelineOptions([]), build, max_seconds=SECONDS)


class TestWatching:
    def test_new_files_are_found_each_once_and_a_place_that_fails_is_looked_at_again(
        self, tmp_path: Path
    ) -> None:
        found: list[FileRef] = []
        patterns = [str(tmp_path / "*.png"), "nowhere://bucket/*.png"]

        def build(pipeline: beam.Pipeline) -> None:
            nonlocal found
            found = collect((pipeline | FromWatch(patterns, 0.05)).main)

        with Running(build) as running:
            for number in range(3):
                put(tmp_path / f"{number}.png", b"x")
                wait_for(lambda wanted=number + 1: len(found) >= wanted)  # type: ignore[misc]
            put(tmp_path / "0.png", b"another")
            wait_for(lambda: len(found) >= 4)
        assert sorted(Path(ref.uri).stem for ref in found) == ["0", "0", "1", "2"]
        assert running.seconds_to_stop < PROMPTLY
        assert running.counted["inputs"] == 4
        assert running.counted["failed_polls"] >= 2
        assert not any(name.startswith("skipped/") for name in running.counted)


def test_an_id_label_is_refused_with_what_to_do_instead(subscription: str) -> None:
    assert id_label_problem(None) is None
    assert "--id_label id has no effect on this machine" in str(id_label_problem("id"))
    with pytest.raises(ConfigurationError, match="id_label id"):
        run_until_stopped(
            PipelineOptions([]),
            lambda pipeline: pipeline | FromPubSub(subscription=subscription, id_label="id"),
            max_seconds=SECONDS,
        )


def test_the_longest_wait_of_a_pipeline_is_found() -> None:
    pipeline = beam.Pipeline()
    files = pipeline | beam.Create([FileRef("a")])
    assert longest_wait(pipeline) == 0
    files | BatchFiles(2, max_wait_seconds=3)
    assert longest_wait(pipeline) == 3


def subscriptions_of(topic: str) -> list[str]:
    from google.cloud import pubsub_v1

    client = pubsub_v1.PublisherClient()
    try:
        return list(client.list_topic_subscriptions(topic=topic))
    finally:
        client.stop()


def put(path: Path, content: bytes) -> None:
    """Let a file appear whole."""
    hidden = path.with_name(".hidden")
    hidden.write_bytes(content)
    hidden.rename(path)


_EVENTS: list[threading.Event] = []


def _remember(event: threading.Event) -> int:
    """Keep what cannot be pickled into a step, and return where."""
    _EVENTS.append(event)
    return len(_EVENTS) - 1


def _tell(ref: FileRef, event: int) -> FileRef:
    _EVENTS[event].set()
    return ref


def _hang(_: FileRef, begun: int, go_on: int) -> None:
    _EVENTS[begun].set()
    _EVENTS[go_on].wait(SECONDS)


def _arrived(value: int) -> TimestampedValue[int]:
    return TimestampedValue(value, time.time())


def _fail(_: FileRef) -> None:
    raise RuntimeError("as it was told to")
