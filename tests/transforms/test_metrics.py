"""What is counted, as a runner tells it."""

from __future__ import annotations

import apache_beam as beam

from pipeline.counts import Counts
from tests.transforms.pipelines import local_pipeline
from transforms import metric_table, metrics
from transforms.predictors.remote.request_report import RequestReport


def test_short_waits_add_up_to_the_seconds_that_dataflow_is_told_of() -> None:
    with local_pipeline() as pipeline:
        waits = pipeline | beam.Create([RequestReport(requests=1, throttled_seconds=0.5)] * 8)
        _ = waits | beam.Map(metrics.count_requests)
    counts = Counts.of(pipeline.result)
    assert counts.get(metric_table.THROTTLED_SECONDS) == 4
    assert counts.get(metric_table.THROTTLED_MSEC) == 4_000
    assert counts.get(metric_table.REQUESTS) == 8
