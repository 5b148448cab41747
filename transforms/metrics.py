"""Counting: the only place that knows Beam's metrics. What the names mean is told in `metric_table.py`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any

from apache_beam.metrics.metric import Metrics

from transforms import buckets, progress
from transforms.metric_table import (
    ARRIVAL_MSEC_LE,
    BATCH_FILES,
    BATCH_PLACES,
    BATCH_SIZE,
    BYTES_READ,
    DEAD_LETTERS,
    ENGINE,
    ENGINE_REFUSED,
    ENGINE_SPEEDUP,
    FAILED_POLLS,
    INPUTS,
    MODEL_LOAD_MSEC,
    MODEL_LOADS,
    NAMESPACE,
    PREDICT_MSEC,
    PREDICT_MSEC_LE,
    PREDICT_MSEC_SUM,
    PREDICTIONS,
    REQUEST_FAILURES,
    REQUESTS,
    RETRIES,
    SKIPPED,
    THROTTLED_MSEC,
    THROTTLED_SECONDS,
    VERSION_SWAPS,
    VERSIONS_REFUSED,
    WARM_UP_MSEC,
)
from transforms.predictors.engines.report import EngineReport
from transforms.predictors.remote.request_report import RequestReport
from transforms.records import DeadLetter


class _WholeSeconds:
    """Makes whole seconds of many parts of one, and keeps what is left for the next."""

    def __init__(self) -> None:
        self._left = 0.0
        self._lock = threading.Lock()

    def of(self, seconds: float) -> int:
        with self._lock:
            whole, self._left = divmod(self._left + seconds, 1)
        return int(whole)


_whole_seconds = _WholeSeconds()


def count_input() -> None:
    """Count an input that was listed."""
    _counter(INPUTS).inc()
    progress.add(listed=1)


def count_skipped(reason: str) -> None:
    """Count an input that needs no prediction.

    Args:
        reason: One of a few words, never text of the input's own: each makes a counter.
    """
    _counter(f"{SKIPPED}/{reason}").inc()
    progress.add(listed=-1)  # nothing is left to do for it


def count_failed_poll() -> None:
    """Count a watched glob that could not be listed this time."""
    _counter(FAILED_POLLS).inc()


def count_bytes(read: int) -> None:
    """Count bytes that were read from files."""
    _counter(BYTES_READ).inc(read)


def count_model_load(load_seconds: float, warm_up_seconds: float) -> None:
    """Count a model that was loaded and warmed up."""
    _counter(MODEL_LOADS).inc()
    _distribution(MODEL_LOAD_MSEC).update(round(load_seconds * 1_000))
    _distribution(WARM_UP_MSEC).update(round(warm_up_seconds * 1_000))


def count_engine(report: EngineReport) -> None:
    """Count what was found out about engines."""
    _counter(f"{ENGINE}/{report.engine}").inc()
    for engine in report.refused:
        _counter(f"{ENGINE_REFUSED}/{engine}").inc()
    for engine, speedup in report.speedups.items():
        _distribution(f"{ENGINE_SPEEDUP}/{engine}").update(round(speedup * 1_000))


def count_version_swap() -> None:
    """Count a newer version of the model that has taken over."""
    _counter(VERSION_SWAPS).inc()


def count_version_refused() -> None:
    """Count a newer version of the model that is broken."""
    _counter(VERSIONS_REFUSED).inc()


def count_requests(report: RequestReport) -> None:
    """Count what has become of requests."""
    _counter(REQUESTS).inc(report.requests)
    _counter(RETRIES).inc(report.retries)
    _counter(THROTTLED_MSEC).inc(round(report.throttled_seconds * 1_000))
    _counter(THROTTLED_SECONDS).inc(_whole_seconds.of(report.throttled_seconds))
    for status, count in report.failures.items():
        _counter(f"{REQUEST_FAILURES}/{status}").inc(count)
    if report.version_swaps:  # else the counters would be there, and be 0, where no version is asked for
        _counter(VERSION_SWAPS).inc(report.version_swaps)
    if report.versions_refused:
        _counter(VERSIONS_REFUSED).inc(report.versions_refused)


def count_batch(size: int, full_size: int, predictions: int, seconds: float) -> None:
    """Count a batch that was predicted on, and its predictions.

    Args:
        size: Its files.
        full_size: How many they would be in a full batch.
        predictions: How many of them have a prediction.
        seconds: How long the model took.
    """
    _counter(f"{BATCH_SIZE}/{size if size == full_size else buckets.rounded_size(size)}").inc()
    _counter(BATCH_FILES).inc(size)
    _counter(BATCH_PLACES).inc(max(size, full_size))
    _counter(PREDICTIONS).inc(predictions)
    msec = seconds * 1_000
    _distribution(PREDICT_MSEC).update(round(msec))
    _counter(PREDICT_MSEC_SUM).inc(round(msec))
    _count_values(PREDICT_MSEC_LE, buckets.PREDICT_MSEC, [msec])
    progress.add(predicted=predictions)


def count_latencies(seconds: Sequence[float]) -> None:
    """Count how long after their inputs came predictions were there."""
    _count_values(ARRIVAL_MSEC_LE, buckets.ARRIVAL_MSEC, [1_000 * one for one in seconds])


def count_dead_letter(letter: DeadLetter) -> DeadLetter:
    """Count a dead letter, and return it."""
    _counter(f"{DEAD_LETTERS}/{letter.stage}/{letter.error}").inc()
    progress.add(dead=1)
    return letter


def _count_values(name: str, kept: buckets.Buckets, values: Sequence[float]) -> None:
    for bound, count in kept.count(values):
        _counter(f"{name}/{bound}").inc(count)


@functools.cache
def _counter(name: str) -> Any:
    return Metrics.counter(NAMESPACE, name)


@functools.cache
def _distribution(name: str) -> Any:
    return Metrics.distribution(NAMESPACE, name)
