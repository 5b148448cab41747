"""What is counted, and under which names: the only place that knows Beam's metrics.

Counters, in the namespace `beam_predict`:

    inputs                        what was listed: files, and lines that name none
    predictions                   files that have one
    dead_letters/STAGE/ERROR      inputs that have none; those of the stage write have one, which an output
                                  refused
    skipped/REASON                inputs that need none: duplicates, events that bring no file. The sum over
                                  these and the dead letters of all other stages is inputs - predictions
    bytes_read                    of the files
    batch_size/N                  batches of N files that were predicted on, as many counters as sizes
    failed_polls                  times that a watched glob could not be listed
    model_loads                   one for each worker process, or for each machine
    engine/ENGINE                 worker processes in which it was tried with others, and computes
    engine_refused/ENGINE         ... in which it was refused
    version_swaps                 newer versions of the model that have taken over
    versions_refused              newer versions that are broken, and were not used
    requests                      to an endpoint, with those that were sent again
    retries                       requests that were sent again
    request_failures/STATUS       requests without a usable answer: 503, UNAVAILABLE, timeout, ...
    throttled_msec                that threads have waited because the endpoint has too much to do
    cumulativeThrottlingSeconds   the same in seconds, under the name by which Dataflow knows that more
                                  workers would not help

Distributions, in milliseconds: `model_load_msec`, `warm_up_msec`, `predict_msec` (of a batch); in
thousandths, `engine_speedup/ENGINE`: TensorFlow's time by the engine's, for a batch.
"""

from __future__ import annotations

import functools
from typing import Any

from apache_beam.metrics.metric import Metrics

from transforms import progress
from transforms.predictors.engines.report import EngineReport
from transforms.predictors.remote.request_report import RequestReport
from transforms.records import DeadLetter

NAMESPACE = "beam_predict"
INPUTS = "inputs"
PREDICTIONS = "predictions"
DEAD_LETTERS = "dead_letters"
SKIPPED = "skipped"
BYTES_READ = "bytes_read"
BATCH_SIZE = "batch_size"
FAILED_POLLS = "failed_polls"
MODEL_LOADS = "model_loads"
ENGINE = "engine"
ENGINE_REFUSED = "engine_refused"
ENGINE_SPEEDUP = "engine_speedup"
VERSION_SWAPS = "version_swaps"
VERSIONS_REFUSED = "versions_refused"
REQUESTS = "requests"
RETRIES = "retries"
REQUEST_FAILURES = "request_failures"
THROTTLED_MSEC = "throttled_msec"
THROTTLED_SECONDS = "cumulativeThrottlingSeconds"
MODEL_LOAD_MSEC = "model_load_msec"
WARM_UP_MSEC = "warm_up_msec"
PREDICT_MSEC = "predict_msec"


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
    _counter(THROTTLED_SECONDS).inc(round(report.throttled_seconds))
    for status, count in report.failures.items():
        _counter(f"{REQUEST_FAILURES}/{status}").inc(count)


def count_batch(size: int, predictions: int, seconds: float) -> None:
    """Count a batch that was predicted on, and its predictions."""
    _counter(f"{BATCH_SIZE}/{size}").inc()
    _counter(PREDICTIONS).inc(predictions)
    _distribution(PREDICT_MSEC).update(round(seconds * 1_000))
    progress.add(predicted=predictions)


def count_dead_letter(letter: DeadLetter) -> DeadLetter:
    """Count a dead letter, and return it."""
    _counter(f"{DEAD_LETTERS}/{letter.stage}/{letter.error}").inc()
    progress.add(dead=1)
    return letter


@functools.cache
def _counter(name: str) -> Any:
    return Metrics.counter(NAMESPACE, name)


@functools.cache
def _distribution(name: str) -> Any:
    return Metrics.distribution(NAMESPACE, name)
