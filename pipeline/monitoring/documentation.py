"""What an alert says: in its notification, and in the runbook.

Which variables a notification may have: https://cloud.google.com/monitoring/alerts/doc-variables
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from urllib.parse import urljoin

from pipeline.monitoring.alerts import Alert
from pipeline.monitoring.remedies import REMEDIES, SHARED

RUNBOOK = "docs/runbook.md"
ALERTS_HEADING = "## Alerts"

_WIDTH = 118
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_JOBS = "gcloud dataflow jobs list --project=$PROJECT"
_JOB = (
    "PROJECT=${project} NAME=${metric_or_resource.label.job_name}",
    f"JOB_ID=$({_JOBS} --filter=name=$NAME --format='value(id)' --limit=1)",
    f"REGION=$({_JOBS} --filter=id=$JOB_ID --format='value(location)')",
)
_VARIABLES = {
    "job_name": _JOB,
    "subscription_id": ("PROJECT=${project} SUBSCRIPTION=${metric_or_resource.label.subscription_id}",),
}
"""What the commands of an alert need, from the label that it tells apart."""

_INTRODUCTION = """\
Dataflow's counters come to Cloud Monitoring up to five minutes late, and so do alerts about them. Each closes
by itself when its cause is gone for half an hour. Its notification says what is written here, and begins its
commands with those that find the job; here they take the variables of [Watch](#watch).
(Both are written by `.venv/bin/python -m pipeline.monitoring`, from `pipeline/monitoring/`.)

What a job has counted, and what its workers have logged, the newest first:"""


def notification(alert: Alert, runbook: str | None) -> str:
    """Write what the notification of an alert says, in Markdown.

    Args:
        alert: The alert.
        runbook: The address of docs/runbook.md, where it has one; without, nothing is linked.
    """
    remedy = REMEDIES[alert.name]
    commands = [*_VARIABLES[alert.label], *remedy.commands]
    paragraphs = [alert.meaning, *remedy.paragraphs, _code(commands)]
    if runbook is not None:
        paragraphs.append(f"The runbook: [{alert.section}]({runbook}#{alert.name})")
    return "\n\n".join(_linked(paragraph, runbook) for paragraph in paragraphs)


def with_alerts(page: str, alerts: Iterable[Alert]) -> str:
    """Write the runbook's part about the alerts anew, and leave the rest of the page as it is."""
    before, _, after = page.partition(f"\n{ALERTS_HEADING}\n")
    rest = after.partition("\n## ")[2]
    introduction = f"{_INTRODUCTION}\n\n{_code(SHARED, 'sh')}"
    parts = [ALERTS_HEADING, introduction, *(_section(alert) for alert in alerts), f"## {rest}"]
    return f"{before}\n" + "\n\n".join(parts)


def _section(alert: Alert) -> str:
    remedy = REMEDIES[alert.name]
    paragraphs = [f"*{alert.severity}: {alert.title}.* {alert.meaning}", *remedy.paragraphs]
    filled = [
        textwrap.fill(one, _WIDTH, break_long_words=False, break_on_hyphens=False) for one in paragraphs
    ]
    own = [command for command in remedy.commands if command not in SHARED]
    return "\n\n".join([f"### {alert.section}", *filled, *([_code(own, "sh")] if own else [])])


def _code(commands: Sequence[str], language: str = "") -> str:
    return "\n".join([f"```{language}", *commands, "```"])


def _linked(text: str, runbook: str | None) -> str:
    """Turn links of the runbook into addresses; without its address, into words."""
    if runbook is not None:
        return _LINK.sub(lambda link: f"[{link[1]}]({urljoin(runbook, link[2])})", text)
    return _LINK.sub(
        lambda link: f"{link[1]} in {RUNBOOK}" if link[2].startswith("#") else f"docs/{link[2]}", text
    )
