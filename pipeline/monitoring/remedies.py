"""What to do about each alert: one text, for the notification and for the runbook.

Links are those of docs/runbook.md; `documentation.py` makes of them what a notification can have. Commands
take the variables that the runbook sets above them, and a notification at the beginning of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_AT_JOB = "$JOB_ID --project=$PROJECT --region=$REGION"
_ACTIVE_JOBS = "gcloud dataflow jobs list --project=$PROJECT --status=active"
_METRICS = f"gcloud beta dataflow metrics list {_AT_JOB} --source=user"
_MESSAGES = f"gcloud beta dataflow logs list {_AT_JOB} --importance=error"
_SUBSCRIPTION = "gcloud pubsub subscriptions describe $SUBSCRIPTION --project=$PROJECT"
_WORKERS = f"gcloud dataflow jobs update-options {_AT_JOB} --max-num-workers=$WORKERS"
_LOGS = (
    "gcloud logging read "
    '"resource.type=dataflow_step AND resource.labels.job_id=$JOB_ID AND severity>=WARNING" \\\n'
    "  --project=$PROJECT --limit=20 --format='value(timestamp, textPayload, jsonPayload.message)' --order="
)
_FIRST_LOGS, _NEWEST_LOGS = f"{_LOGS}asc", f"{_LOGS}desc"

SHARED = (_METRICS, _NEWEST_LOGS)
"""The commands of most alerts, which the runbook shows once, above all of them."""


@dataclass(frozen=True)
class Remedy:
    """What to do.

    Attributes:
        paragraphs: In Markdown.
        commands: Of the shell, in the order in which they help.
    """

    paragraphs: tuple[str, ...]
    commands: tuple[str, ...]


REMEDIES: Mapping[str, Remedy] = {
    "job-failed": Remedy(
        (
            "A batch job fails when a bundle has failed four times; a streaming job retries for ever, and "
            "fails at its start or by its configuration. Read the first error, not the last.",
            "Most often: workers that cannot start (image, service account, network: [Launch](#launch) "
            "again with `--dry_run`, which checks what can be checked from outside), a worker that runs out "
            "of memory (smaller `--max_batch_size` or `--read_ahead_bytes`, `--model_sharing machine`, a "
            "machine with more memory), a quota ([Quotas](#quotas)). Start it again: a batch job predicts "
            "on all files again, a streaming one goes on with what is in the subscription.",
        ),
        (_MESSAGES, _FIRST_LOGS),
    ),
    "backlog": Remedy(
        (
            "Messages wait. Is there a job at all? If not, start it again ([Launch](#launch)). Is it at its "
            "`--max_num_workers`? Then raise that (see [Update](#update)). Does it wait for an endpoint "
            "(the alert [Throttled](#throttled))? If the charts of batches show that they are not full, a "
            "longer `--max_batch_wait` makes each worker faster; if they are, another `--engine` or a GPU "
            "does.",
        ),
        (_ACTIVE_JOBS, _SUBSCRIPTION),
    ),
    "behind": Remedy(
        (
            "The job has read something, and is not done with it. A `--window` longer than 15 minutes is one "
            "reason, and no trouble: raise the bound in the alert. Otherwise the job's page shows the step "
            "whose watermark stands still; the log shows if it fails again and again. BigQuery that refuses "
            "for a time, and storage that is away, are waited for. If nothing fails, the workers are too "
            "few: let the job have more (`WORKERS=20`, say, and the last command).",
        ),
        (_NEWEST_LOGS, _WORKERS),
    ),
    "dead-letters": Remedy(
        (
            "The dashboard shows kinds, and so do the counters `dead_letters/...`. `read/*`: files were "
            "deleted or moved before they were read, or the service account may not read them. `decode/*`: "
            "the sender sends something else, or a new kind of image. `predict/*`: the model, or its "
            "endpoint. `parse/*`: the sender's messages. `write/*`: the table's schema was changed.",
            'For examples of each, ask the table ([bigquery.md](bigquery.md), "What went wrong") or the '
            "files. Mend the cause, then replay them (see [Replay dead letters](#replay-dead-letters)).",
        ),
        (_METRICS,),
    ),
    "no-predictions": Remedy(
        (
            "Inputs come, and neither predictions nor skipped inputs. If all become dead letters, that "
            "alert tells more. Otherwise look at `model_loads`: 0 means that the model is not loaded yet; "
            "the log says if it cannot be. With an endpoint, look at the failures of requests. What was "
            "read is not lost: messages are not acknowledged, or batches are kept.",
        ),
        (_METRICS, _NEWEST_LOGS),
    ),
    "version-refused": Remedy(
        (
            "A newer version in the model's folder is broken, or has another signature. The log of the "
            "workers says which file or input. Each process of each worker tells it once. Copy a good one "
            "under a higher number (see [Roll a model forward and back](#roll-a-model-forward-and-back)), "
            "and delete the broken one.",
            "Of an endpoint: the server has a version with another signature. Serve one with that of before, "
            "or start the job again, which asks for the signature anew.",
        ),
        (_NEWEST_LOGS,),
    ),
    "endpoint-failures": Remedy(
        (
            "By status, on the dashboard and in the counters `request_failures/...`: 429, 503 and "
            "`UNAVAILABLE` are overload: more replicas, or fewer `--max_concurrent_requests`. 401 and 403: "
            "the service account lacks a role, and the job stops at its first requests. 404: the model or "
            "its version is gone. `timeout`: `--request_timeout` is too short for its slowest batch. "
            "[endpoints.md](endpoints.md) has what each means. What has failed for good is a dead letter "
            "with `retryable`: replay it (see [Replay dead letters](#replay-dead-letters)).",
        ),
        (_METRICS, _NEWEST_LOGS),
    ),
    "throttled": Remedy(
        (
            "The endpoint gets as many requests as it can take, and workers wait. That is no failure, and "
            "it costs: the job has too many workers. Let it have fewer (`WORKERS=5`, say, and the last "
            "command), or give the endpoint more replicas.",
        ),
        (_METRICS, _WORKERS),
    ),
}
"""By the names of the alerts."""
