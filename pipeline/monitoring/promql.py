"""Queries of Cloud Monitoring in PromQL.

Dataflow tells a counter's total so far as a gauge, one series for each job and step, every 60 seconds, and
up to four minutes late. PromQL's `rate` and `increase` are for what Cloud Monitoring calls cumulative; and
they do not see what a series begins with, as the first dead letter of a kind. So growth is told here as the
difference to what was, where what was not there yet counts as 0.

How metrics are named in PromQL: https://cloud.google.com/monitoring/promql/promql-mapping
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.metric_table import METRICS

USER_COUNTER = "dataflow_googleapis_com:job_user_counter"
_KINDS = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Jobs:
    """Which jobs are looked at.

    Attributes:
        matcher: PromQL's condition for their names: `job_name=~"photos-.*"`, or a dashboard's variable.
    """

    matcher: str

    @classmethod
    def named(cls, pattern: str) -> Jobs:
        """Choose jobs by a regular expression, which must match the whole name."""
        return cls(f'job_name=~"{_quoted(pattern)}"')

    def system(self, metric: str) -> str:
        """Select one of Dataflow's own metrics, as `system_lag`."""
        return f'dataflow_googleapis_com:job_{metric}{{monitored_resource="dataflow_job",{self.matcher}}}'

    def counter(self, name: str, suffix: str = "") -> str:
        """Select a counter of the table, or all of its counters where it has a label.

        Args:
            name: Its name in the table.
            suffix: `_MEAN`, `_MAX`, `_MIN` or `_COUNT` of a distribution.
        """
        metric = _KINDS[name]
        if metric.label is None:
            told = f'metric_name="{name}{suffix}"'
        else:
            told = f'metric_name=~"{name}/.+{suffix}"'
        return f'{USER_COUNTER}{{monitored_resource="dataflow_job",{told},{self.matcher}}}'

    def total(self, name: str, by: Sequence[str] = ("job_name",)) -> str:
        """Add up a counter over the steps of a job."""
        return f"sum by ({', '.join(by)}) ({self.counter(name)})"

    def growth(self, name: str, window: str, by: Sequence[str] = ("job_name",)) -> str:
        """Tell by how much a counter has grown within a window, as `10m`.

        An updated job is another one of the same name, which counts from 0 again: so each id for itself.
        """
        each = ("job_id", "job_name", *(["metric_name"] if _KINDS[name].label else []))
        now = f"sum by ({', '.join(each)}) ({self.counter(name)})"
        before = f"sum by ({', '.join(each)}) ({self.counter(name)} offset {window})"
        return f"sum by ({', '.join(by)}) ({now} - ({before} or 0 * {now}))"

    def percentile(self, share: float, name: str, window: str) -> str:
        """Tell what a share of the values that were counted within a window does not exceed."""
        grown = self.growth(name, window, by=("job_name", "metric_name"))
        bounds = f'label_replace({grown}, "le", "$1", "metric_name", ".*/(.+)")'
        bounds = f'label_replace({bounds}, "le", "+Inf", "le", "inf")'
        return f"histogram_quantile({share}, sum by (job_name, le) ({bounds}))"


def label_of(query: str, label: str) -> str:
    """Make a label of what follows the name of each counter."""
    return f'label_replace({query}, "{label}", "$1", "metric_name", "[^/]+/(.+)")'


def subscriptions(metric: str, pattern: str) -> str:
    """Select one of Pub/Sub's metrics of subscriptions whose ids match as a whole."""
    return (
        f"pubsub_googleapis_com:subscription_{metric}"
        f'{{monitored_resource="pubsub_subscription",subscription_id=~"{_quoted(pattern)}"}}'
    )


def names_in(query: str) -> set[str]:
    """Return the names of the table's counters that a query selects, without labels and suffixes."""
    found = re.findall(r'metric_name=~?"([A-Za-z_]+?)(?:/\.\+)?(?:_MEAN|_MAX|_MIN|_COUNT)?"', query)
    return set(found)


def _quoted(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace('"', '\\"')
