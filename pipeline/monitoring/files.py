"""The files of monitoring, by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.monitoring.alerts import alerts, policy
from pipeline.monitoring.dashboard import dashboard
from pipeline.monitoring.documentation import notification, with_alerts
from pipeline.monitoring.promql import Jobs
from transforms.buckets import ARRIVAL_MSEC, ERROR, PREDICT_MSEC
from transforms.metric_table import METRICS, NAMESPACE, Metric

FOLDER = Path("deploy/monitoring")
DOCS = Path("docs/metrics.md")
JOB_NAME = "beam-predict-.*"
SUBSCRIPTION = ".*"


def monitoring_files(job_name: str, subscription: str, runbook: str | None = None) -> Mapping[str, str]:
    """Make the dashboard and the alerts.

    Args:
        job_name: A regular expression for the names of the jobs that alerts are about.
        subscription: One for the ids of the subscriptions that they listen to.
        runbook: The address of docs/runbook.md, where it has one.
    """
    found = alerts(Jobs.named(job_name), subscription)
    files = {
        f"alerts/{alert.name}.json": _json(policy(alert, notification(alert, runbook))) for alert in found
    }
    return {"dashboard.json": _json(dashboard(subscription)), **files}


def runbook_page(page: str) -> str:
    """Bring the runbook's part about the alerts up to date.

    Args:
        page: The runbook.
    """
    return with_alerts(page, alerts(Jobs.named(JOB_NAME), SUBSCRIPTION))


def metrics_page() -> str:
    """Make the list of metrics, for readers."""
    rows = "\n".join(
        f"| `{metric.title}` | {metric.kind} | {metric.unit} | {metric.help} |" for metric in METRICS
    )
    return _PAGE.format(rows=rows, namespace=NAMESPACE, error=f"{ERROR:.0%}", most=_most_counters())


def counters_of(metric: Metric) -> int:
    """Return how many counters a metric makes at most, but for its labels without a bound."""
    if metric.kind == "buckets":
        return len(_BUCKETS[metric.name].names)
    return 4 if metric.kind == "distribution" else 1


_BUCKETS = {"predict_msec_le": PREDICT_MSEC, "arrival_to_prediction_msec_le": ARRIVAL_MSEC}


def _most_counters() -> int:
    return sum(map(counters_of, METRICS))


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


_PAGE = """\
# Metrics

Written by `.venv/bin/python -m pipeline.monitoring` from
[transforms/metric_table.py](../transforms/metric_table.py).

| metric | kind | unit | |
|---|---|---|---|
{rows}

Beam keeps them in the namespace `{namespace}`. A *counter* is the total since the start of the job.
*Buckets* are counters as well: each counts the values up to its bound, in half doublings, and `inf` all of
them. The percentiles in the summary follow from them, and are wrong by {error} at most. (The charts of the
dashboard interpolate between bounds: they may be wrong by 42%, and mostly are by much less.) A
*distribution* has a number, a sum, a least and a greatest value.

On Dataflow, Cloud Monitoring has them as `dataflow.googleapis.com/job/user_counter`, sampled every 60
seconds and to be seen up to four minutes later, with the labels `metric_name` (as above; distributions
with `_MEAN`, `_COUNT`, `_MIN`, `_MAX` behind it), `ptransform` (the step) and `job_id`, and the resource's
`job_name`:

```text
dataflow_googleapis_com:job_user_counter{{monitored_resource="dataflow_job", metric_name="predictions"}}
```

There are at most {most} of them, if each label has one value. Labels have few: kinds of dead letters are
classes of errors, and statuses those of HTTP and gRPC; sizes of batches are exact up to 16, and eight for
each doubling above that. A project has no more than 100 metrics of the form
`custom.googleapis.com/dataflow/...`, and a job may log that it makes no further ones; these are copies,
which neither the dashboard nor the alerts need.
"""
