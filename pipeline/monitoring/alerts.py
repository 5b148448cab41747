"""When Cloud Monitoring calls for somebody; `remedies.py` has what to do then.

The format: https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.monitoring.promql import Jobs, subscriptions
from transforms import metric_table as table

AUTO_CLOSE_SECONDS = 1_800
_EVALUATION_SECONDS = 60


@dataclass(frozen=True)
class Alert:
    """Something that calls for somebody.

    Attributes:
        name: Of its file, and of the section of the runbook.
        title: What has happened; people read it first.
        severity: `CRITICAL`: predictions are lost or do not come; `WARNING`: they will, or cost too much.
        query: In PromQL; the alert is raised for what it returns.
        minutes: For how long it must return something.
        meaning: What is the matter, in a sentence or two.
        label: What it tells apart: each job, or each subscription.
    """

    name: str
    title: str
    severity: Literal["CRITICAL", "ERROR", "WARNING"]
    query: str
    minutes: int
    meaning: str
    label: Literal["job_name", "subscription_id"] = "job_name"

    @property
    def section(self) -> str:
        """The heading of its section in the runbook."""
        return self.name.replace("-", " ").capitalize()


def alerts(jobs: Jobs, subscription: str) -> list[Alert]:
    """Return all alerts.

    Args:
        jobs: Which jobs are watched.
        subscription: A regular expression for the ids of the subscriptions that they listen to.
    """
    return [*_of_jobs(jobs, subscription), *_of_items(jobs), *_of_models(jobs)]


def policy(alert: Alert, content: str) -> dict[str, Any]:
    """Make the content of an alert's file.

    Args:
        alert: The alert.
        content: What its notification says, in Markdown.
    """
    condition = {
        "query": alert.query,
        "duration": f"{60 * alert.minutes}s",
        "evaluationInterval": f"{_EVALUATION_SECONDS}s",
        "alertRule": alert.name.replace("-", "_"),
        "disableMetricValidation": True,  # a counter exists once something was counted
    }
    return {
        "displayName": f"beam-predict: {alert.title}",
        "severity": alert.severity,
        "userLabels": {"app": "beam-predict", "alert": alert.name},
        "documentation": {
            "subject": f"beam-predict: {alert.title}",
            "content": content,
            "mimeType": "text/markdown",
        },
        "combiner": "OR",
        "conditions": [
            {"displayName": alert.title, "conditionPrometheusQueryLanguage": condition},
        ],
        "alertStrategy": {"autoClose": f"{AUTO_CLOSE_SECONDS}s"},
    }


def _of_jobs(jobs: Jobs, subscription: str) -> list[Alert]:
    oldest = subscriptions("oldest_unacked_message_age", subscription)
    return [
        Alert(
            "job-failed",
            "a job has failed",
            "CRITICAL",
            f"max by (job_name) (max_over_time({jobs.system('is_failed')}[10m])) > 0",
            0,
            "Dataflow has ended a job because of an error. A streaming job does not start again by itself; "
            "its messages wait in the subscription.",
        ),
        Alert(
            "backlog",
            "messages wait for more than 10 minutes",
            "CRITICAL",
            f"max by (subscription_id) ({oldest}) > 600",
            5,
            "The oldest message of the subscription was published more than 10 minutes ago, and no job has "
            "acknowledged it.",
            label="subscription_id",
        ),
        Alert(
            "behind",
            "a job is more than 15 minutes behind",
            "WARNING",
            f"max by (job_name) ({jobs.system('data_watermark_age')}) > 900 or "
            f"max by (job_name) ({jobs.system('system_lag')}) > 900",
            10,
            "Something that the job has read more than 15 minutes ago is not done with: files of a window "
            "longer than that are, or a step that hangs or fails again and again.",
        ),
    ]


def _of_items(jobs: Jobs) -> list[Alert]:
    dead, inputs = jobs.growth(table.DEAD_LETTERS, "30m"), jobs.growth(table.INPUTS, "30m")
    predictions, skipped = jobs.growth(table.PREDICTIONS, "30m"), jobs.growth(table.SKIPPED, "30m")
    return [
        Alert(
            "dead-letters",
            "more than 5% dead letters",
            "ERROR",
            f"{dead} / ({inputs} > 0) > 0.05",
            5,
            "Of the inputs of the last 30 minutes, more than 5% have become dead letters. The dashboard "
            "shows at which stage, and by which error.",
        ),
        Alert(
            "no-predictions",
            "inputs come, and no predictions",
            "CRITICAL",
            f"({inputs} - ({skipped} or 0 * {inputs})) > 0 unless {predictions} > 0",
            10,
            "For 30 minutes inputs have come that are to be predicted on, and not one prediction has come of "
            "them.",
        ),
    ]


def _of_models(jobs: Jobs) -> list[Alert]:
    waited, spent = jobs.growth(table.THROTTLED_MSEC, "15m"), jobs.growth(table.PREDICT_MSEC_SUM, "15m")
    failures, requests = jobs.growth(table.REQUEST_FAILURES, "15m"), jobs.growth(table.REQUESTS, "15m")
    return [
        Alert(
            "version-refused",
            "a newer version of the model is broken",
            "ERROR",
            f"{jobs.growth(table.VERSIONS_REFUSED, '60m')} > 0",
            0,
            "A worker has found a newer version of the model, and could not use it. The version before goes "
            "on.",
        ),
        Alert(
            "endpoint-failures",
            "more than 10% of the requests to the endpoint fail",
            "ERROR",
            f"{failures} / ({requests} > 0) > 0.1",
            5,
            "Of the requests of the last 15 minutes, more than 10% have had no usable answer. Most are sent "
            "again; what stays without one becomes a dead letter.",
        ),
        Alert(
            "throttled",
            "the endpoint is too slow for the job",
            "WARNING",
            f"{waited} / ({spent} > 0) > 0.5",
            15,
            "For more than half of the time that batches take, the job waits because the endpoint has too "
            "much to do. More workers would not help.",
        ),
    ]
