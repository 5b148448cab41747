"""The sources of a stream on this machine: they never block, and end when they are told to.

Beam's own reader of messages waits up to 30 s for one, and meanwhile timers, cancellation and whatever was
read before wait with it; and it never ends.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from typing import Any, cast

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PTransformOverride
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.runners.direct import transform_evaluator
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.direct.util import TransformResult
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from google.api_core import exceptions

from pipeline.local_metrics import count_every_bundle
from pipeline.pubsub_clients import subscriber_client
from transforms.errors import ConfigurationError
from transforms.sources.polls import Polls

MAX_MESSAGES = 200
"""In one pull."""

PULL_SECONDS = 10.0
IDLE_SECONDS = 0.05
"""Between two looks when there was nothing."""

_MAY_WORK_LATER = (
    exceptions.Aborted,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)

_log = logging.getLogger(__name__)


class Draining:
    """How a run ends: sources stop, what waits for a timer gets its time, then time itself ends.

    Attributes:
        stop: Set from outside to end the run.
        at_once: Whether to end it without waiting for what was read.
        settle_seconds: Between the stop and the end of time. When that has come, timers by the clock count no
            more, and what comes out after it is too late for its window.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.at_once = False
        self.settle_seconds = 0.0
        self._since: float | None = None
        self._sources: list[_LocalSource] = []

    def since(self) -> float | None:
        """Return when the stop was noticed, by the monotonic clock; None before."""
        if self._since is None and self.stop.is_set():
            self._since = time.monotonic()
        return self._since

    def is_settled(self) -> bool:
        """Tell whether time may end."""
        since = self.since()
        return since is not None and time.monotonic() >= since + self.settle_seconds

    def add(self, source: _LocalSource) -> None:
        """Take a source that is to be closed at the end."""
        self._sources.append(source)

    def close(self) -> None:
        """Close the sources."""
        for source in self._sources:
            source.close()


class LocalStreamingRunner(BundleBasedDirectRunner):
    """Beam's local runner for streams, with the sources of this module."""

    def __init__(self, draining: Draining) -> None:
        super().__init__()
        self._draining = draining

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        """Start the pipeline, and return while it runs.

        Raises:
            ConfigurationError: It needs what this machine cannot do.
        """
        pipeline.replace_all([_PullsForMessages(self._draining), _TicksForPolls(self._draining)])
        # Where Beam's own tests tell how to run a step that it does not know.
        known = transform_evaluator.TransformEvaluatorRegistry._test_evaluators_overrides
        known[_LocalSource] = _SourceEvaluator
        count_every_bundle()
        return cast(PipelineResult, super().run_pipeline(pipeline, options))  # type: ignore[no-untyped-call]


class _LocalSource(beam.PTransform[PBegin, PCollection[Any]]):
    """A source that the runner asks for elements as soon as it has nothing else to do."""

    def __init__(self, draining: Draining) -> None:
        super().__init__()
        self.draining = draining
        draining.add(self)

    def expand(self, begin: PBegin) -> PCollection[Any]:
        return PCollection(begin.pipeline, is_bounded=False)

    def get_windowing(self, _: Any) -> beam.Windowing:
        return beam.Windowing(GlobalWindows())

    def read(self) -> list[tuple[Timestamp, Any]]:
        """Return what there is, with its timestamps, and soon."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what it holds."""


class _SourceEvaluator(transform_evaluator._TransformEvaluator):
    def start_bundle(self) -> None:
        pass

    def process_element(self, element: Any) -> None:
        pass

    def finish_bundle(self) -> TransformResult:
        source = cast(_LocalSource, self._applied_ptransform.transform)
        is_last = source.draining.is_settled()
        # Before the look, so that what comes later is not late.
        watermark = MAX_TIMESTAMP if is_last else Timestamp.now()
        elements = [] if source.draining.stop.is_set() else source.read()
        (output,) = self._outputs
        bundle = self._evaluation_context.create_bundle(output)
        for timestamp, element in elements:
            bundle.output(GlobalWindows.windowed_value(element, timestamp=timestamp))
        again = self._evaluation_context.create_bundle(PBegin(cast(beam.Pipeline, source.pipeline)))
        if not elements and not is_last:
            source.draining.stop.wait(IDLE_SECONDS)
        return TransformResult(
            self, [bundle] if elements else [], [] if is_last else [again], None, {None: watermark}
        )


class _Messages(_LocalSource):
    """The messages of a subscription, in short pulls.

    They are acknowledged before they go on, as by Beam's own local reader: what was not out is lost when the
    process dies.
    """

    def __init__(self, draining: Draining, source: Any) -> None:
        super().__init__(draining)
        if source.id_label:
            raise ConfigurationError(
                f"id_label {source.id_label}: no runner on this machine drops messages by it"
            )
        self._source = source
        self._client: Any = None
        self._subscription = ""
        self._is_own = False

    def read(self) -> list[tuple[Timestamp, Any]]:
        try:
            received = self._pull()
        except _MAY_WORK_LATER as error:
            _log.warning("no messages from %s this time: %s", self._subscription, error)
            return []
        return [(self._timestamp_of(message), self._element_of(message)) for message in received]

    def close(self) -> None:
        if self._client is None:
            return
        try:
            if self._is_own:
                self._client.delete_subscription(subscription=self._subscription, timeout=PULL_SECONDS)
        except exceptions.GoogleAPIError as error:
            _log.warning("the subscription %s stays behind: %s", self._subscription, error)
        finally:
            self._client.close()
            self._client = None

    def _pull(self) -> list[Any]:
        if self._client is None:
            self._open()
        answer = self._client.pull(
            subscription=self._subscription,
            max_messages=MAX_MESSAGES,
            return_immediately=True,
            timeout=PULL_SECONDS,
            retry=None,
        )
        received = list(answer.received_messages)
        if received:
            self._client.acknowledge(
                subscription=self._subscription,
                ack_ids=[one.ack_id for one in received],
                timeout=PULL_SECONDS,
            )
        return [one.message for one in received]

    def _open(self) -> None:
        self._client = subscriber_client()
        self._subscription = self._source.full_subscription or self._make_subscription()

    def _make_subscription(self) -> str:
        path = f"projects/{self._source.project}/subscriptions/beam-predict-{uuid.uuid4().hex}"
        self._client.create_subscription(name=path, topic=self._source.full_topic, timeout=PULL_SECONDS)
        self._is_own = True
        return path

    def _element_of(self, message: Any) -> Any:
        return PubsubMessage._from_message(message) if self._source.with_attributes else message.data

    def _timestamp_of(self, message: Any) -> Timestamp:
        told = message.attributes.get(self._source.timestamp_attribute or "")
        if told is not None:
            with contextlib.suppress(ValueError, OverflowError):
                return _parsed_time(told)
            # Beam's own reader would fail here, and with it the pipeline, at each delivery of that message.
            _log.warning(
                "message %s has no time in its %r; taken: when it was published", message.message_id, told
            )
        return Timestamp.from_utc_datetime(message.publish_time)


class _Ticks(_LocalSource):
    """An element as often as `Polls` promises."""

    def __init__(self, draining: Draining, seconds: float) -> None:
        super().__init__(draining)
        self._seconds = seconds
        self._next = time.monotonic()

    def read(self) -> list[tuple[Timestamp, Any]]:
        now = time.monotonic()
        if now < self._next:
            return []
        self._next = now + self._seconds
        return [(Timestamp.now(), None)]


class _PullsForMessages(PTransformOverride):
    def __init__(self, draining: Draining) -> None:
        self._draining = draining

    def matches(self, applied: Any) -> bool:
        return isinstance(applied.transform, ReadFromPubSub)

    def get_replacement_transform_for_applied_ptransform(self, applied: Any) -> beam.PTransform[Any, Any]:
        return _Messages(self._draining, applied.transform._source)


class _TicksForPolls(PTransformOverride):
    def __init__(self, draining: Draining) -> None:
        self._draining = draining

    def matches(self, applied: Any) -> bool:
        return isinstance(applied.transform, Polls)

    def get_replacement_transform_for_applied_ptransform(self, applied: Any) -> beam.PTransform[Any, Any]:
        return _Ticks(self._draining, applied.transform.seconds)


def _parsed_time(text: str) -> Timestamp:
    """Read milliseconds since 1970, or RFC 3339."""
    if text.isascii() and text.isdigit():
        return Timestamp(micros=int(text) * 1_000)
    return Timestamp.from_rfc3339(text)
