"""Running on this machine until it is stopped: messages, and folders that are watched."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult

from pipeline.local_sources import Draining, LocalStreamingRunner
from transforms.batch_files import BatchFiles
from transforms.model_sharing import last_model_kept

DRAIN_SECONDS = 20.0
"""How long what was read has to come out when the run is stopped: it takes less, unless a model loads."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_CANCEL = 5.0
# Timers are looked at when nothing else is to do, so that they come a little late.
_SECONDS_TIMERS_ARE_LATE = 0.3

_log = logging.getLogger(__name__)


def run_until_stopped(
    options: PipelineOptions,
    build: Callable[[beam.Pipeline], object],
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> PipelineResult:
    """Run a pipeline that does not end by itself until it is told to end.

    It is told by SIGTERM or Ctrl-C (in the main thread), by an event, or by the time. Then nothing more is
    read, what was read comes out, windows are closed, and the pipeline ends. A second Ctrl-C ends it at once.

    Args:
        options: Of the pipeline; they get `streaming`.
        build: Adds the steps to the pipeline.
        max_seconds: After which it is stopped; None for never.
        stop: Stops it when it is set.
        drain_seconds: What is not out by then is lost, and said to be in the log.

    Returns:
        The result, whose metrics can be read, and whose state is DONE, or CANCELLED if something was lost.

    Raises:
        ConfigurationError: The pipeline needs what this machine cannot do.
        Exception: Whatever a step raised.
    """
    options.view_as(StandardOptions).streaming = True
    draining = Draining(stop or threading.Event())
    pipeline = beam.Pipeline(runner=LocalStreamingRunner(draining), options=options)
    build(pipeline)
    draining.settle_seconds = longest_wait(pipeline) + _SECONDS_TIMERS_ARE_LATE
    with _signals_heeded(draining), last_model_kept():
        # Without a round trip through Beam's portable form, in which a composite step loses its class.
        result = pipeline.run(test_runner_api=False)
        try:
            _wait(result, draining, max_seconds, drain_seconds)
        finally:
            draining.close()
    return result


def id_label_problem(id_label: str | None) -> str | None:
    """Return what is wrong with an `--id_label` on this machine, if one is given."""
    if id_label is None:
        return None
    return (
        f"--id_label {id_label} has no effect on this machine, where Beam's runner cannot drop messages by "
        "it; leave it out, for --dedupe_window drops duplicate files here too, or run on Dataflow"
    )


def longest_wait(pipeline: beam.Pipeline) -> float:
    """Return for how many seconds at most a file waits for its batch to fill."""
    visitor = _Waits()
    pipeline.visit(visitor)
    return visitor.longest


class _Waits(beam.pipeline.PipelineVisitor):
    def __init__(self) -> None:
        self.longest = 0.0

    def enter_composite_transform(self, applied: Any) -> None:
        if isinstance(applied.transform, BatchFiles):
            self.longest = max(self.longest, applied.transform.max_wait_seconds or 0.0)


def _wait(
    result: PipelineResult, draining: Draining, max_seconds: float | None, drain_seconds: float
) -> None:
    run = _Waiting(result)
    end = None if max_seconds is None else time.monotonic() + max_seconds
    while not run.ended.wait(_SECONDS_BETWEEN_LOOKS):
        now = time.monotonic()
        if end is not None and now > end:
            draining.stop.set()
        since = draining.since()
        if draining.at_once or (since is not None and now > since + drain_seconds):
            _log.warning("stopped before all that was read had come out: the rest is lost")
            _cancel(result)
            return
    if run.error is not None:
        raise run.error


class _Waiting:
    """Waits for a result in a thread of its own, since the main thread is to heed signals."""

    def __init__(self, result: PipelineResult) -> None:
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self._result = result
        threading.Thread(target=self._wait, name="wait for the pipeline", daemon=True).start()

    def _wait(self) -> None:
        try:
            self._result.wait_until_finish()
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()


def _cancel(result: PipelineResult) -> None:
    """Cancel a run; what it is at now, a download say, is not waited for long."""
    cancelling = threading.Thread(target=result.cancel, name="cancel the pipeline", daemon=True)
    cancelling.start()
    cancelling.join(_SECONDS_TO_CANCEL)


@contextlib.contextmanager
def _signals_heeded(draining: Draining) -> Iterator[None]:
    """Let signals stop the run; the second one at once."""

    def heed(_: int, frame: FrameType | None) -> None:
        draining.at_once = draining.stop.is_set()
        draining.stop.set()

    if threading.current_thread() is not threading.main_thread():  # only that one may
        yield
        return
    before = {number: signal.signal(number, heed) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
