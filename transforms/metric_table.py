"""What is counted, under which names: the one table from which counting, docs and monitoring derive.

Beam keeps the numbers in the namespace `beam_predict`; Dataflow hands them to Cloud Monitoring as values of
`dataflow.googleapis.com/job/user_counter`, whose label `metric_name` is the name here. docs/metrics.md is
this table for readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAMESPACE = "beam_predict"

INPUTS = "inputs"
PREDICTIONS = "predictions"
DEAD_LETTERS = "dead_letters"
SKIPPED = "skipped"
BYTES_READ = "bytes_read"
FAILED_POLLS = "failed_polls"
BATCH_SIZE = "batch_size"
BATCH_FILES = "batch_files"
BATCH_PLACES = "batch_places"
PREDICT_MSEC = "predict_msec"
PREDICT_MSEC_SUM = "predict_msec_sum"
PREDICT_MSEC_LE = "predict_msec_le"
ARRIVAL_MSEC_LE = "arrival_to_prediction_msec_le"
MODEL_LOADS = "model_loads"
MODEL_LOAD_MSEC = "model_load_msec"
WARM_UP_MSEC = "warm_up_msec"
VERSION_SWAPS = "version_swaps"
VERSIONS_REFUSED = "versions_refused"
ENGINE = "engine"
ENGINE_REFUSED = "engine_refused"
ENGINE_SPEEDUP = "engine_speedup"
REQUESTS = "requests"
RETRIES = "retries"
REQUEST_FAILURES = "request_failures"
THROTTLED_MSEC = "throttled_msec"
THROTTLED_SECONDS = "cumulativeThrottlingSeconds"

Kind = Literal["counter", "buckets", "distribution"]
"""A counter; counters of all values up to a bound, from which percentiles follow; or Beam's distribution:
number, sum, least and greatest."""


@dataclass(frozen=True)
class Metric:
    """Something that is counted.

    Attributes:
        name: Under which it is counted.
        kind: See `Kind`.
        unit: Of its values.
        help: What it says; no full stop at its end.
        label: What follows the name after a slash, where there are several; each value is a metric of its
            own, so they are few: classes, reasons, status codes, bounds.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    label: str | None = None

    @property
    def title(self) -> str:
        """The name with its label."""
        return self.name if self.label is None else f"{self.name}/{self.label}"


METRICS = (
    Metric(INPUTS, "counter", "inputs", "what was listed: files, and lines or messages that name none"),
    Metric(PREDICTIONS, "counter", "files", "files that have one"),
    Metric(
        DEAD_LETTERS,
        "counter",
        "inputs",
        "inputs that have no prediction; those of the stage `write` have one, which an output refused",
        "STAGE/ERROR",
    ),
    Metric(
        SKIPPED,
        "counter",
        "inputs",
        "inputs that need none: duplicates, events that bring no file. These, the predictions, and the dead "
        "letters of all stages but `write` add up to the inputs",
        "REASON",
    ),
    Metric(BYTES_READ, "counter", "bytes", "of the files"),
    Metric(FAILED_POLLS, "counter", "polls", "times that a watched glob could not be listed"),
    Metric(
        BATCH_SIZE,
        "counter",
        "batches",
        "batches of N files that were predicted on; above 16, N is the nearest number with four significant "
        "bits, or --max_batch_size itself",
        "N",
    ),
    Metric(BATCH_FILES, "counter", "files", "files in these batches"),
    Metric(
        BATCH_PLACES,
        "counter",
        "files",
        "files that would have been in them, were all full: `batch_files` by this is how full they are",
    ),
    Metric(PREDICT_MSEC, "distribution", "ms", "of a batch, in the model or with the endpoint"),
    Metric(PREDICT_MSEC_SUM, "counter", "ms", "the same, added up"),
    Metric(PREDICT_MSEC_LE, "buckets", "ms", "batches that took no longer than so long", "BOUND"),
    Metric(
        ARRIVAL_MSEC_LE,
        "buckets",
        "ms",
        "in streaming: predictions that came no later than so long after their message was published, or "
        "after their file was first listed",
        "BOUND",
    ),
    Metric(
        MODEL_LOADS,
        "counter",
        "loads",
        "one for each worker process, or each machine where a machine shares the model",
    ),
    Metric(MODEL_LOAD_MSEC, "distribution", "ms", "of a load"),
    Metric(WARM_UP_MSEC, "distribution", "ms", "of the warm-up after it"),
    Metric(VERSION_SWAPS, "counter", "swaps", "newer versions of the model that have taken over"),
    Metric(
        VERSIONS_REFUSED,
        "counter",
        "versions",
        "newer versions that are broken, or have another signature, and were not used",
    ),
    Metric(
        ENGINE,
        "counter",
        "processes",
        "worker processes in which it was tried with others, and computes",
        "ENGINE",
    ),
    Metric(ENGINE_REFUSED, "counter", "processes", "worker processes in which it was refused", "ENGINE"),
    Metric(
        ENGINE_SPEEDUP,
        "distribution",
        "thousandths",
        "TensorFlow's time by the engine's, for a batch",
        "ENGINE",
    ),
    Metric(REQUESTS, "counter", "requests", "to an endpoint, with those that were sent again"),
    Metric(RETRIES, "counter", "requests", "requests that were sent again"),
    Metric(
        REQUEST_FAILURES,
        "counter",
        "requests",
        "requests without a usable answer: 503, UNAVAILABLE, timeout, ...",
        "STATUS",
    ),
    Metric(
        THROTTLED_MSEC,
        "counter",
        "ms",
        "that threads have waited because the endpoint has too much to do",
    ),
    Metric(
        THROTTLED_SECONDS,
        "counter",
        "s",
        "the same, under the name by which Dataflow knows that more workers would not help",
    ),
)
"""All of them, in the order of the way of the data."""
