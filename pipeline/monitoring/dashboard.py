"""The dashboard: what an operator looks at first comes first.

The format: https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.dashboards
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.monitoring.promql import Jobs, label_of, subscriptions
from transforms import metric_table as table

COLUMNS = 48
_WIDTH, _HEIGHT = 24, 16
_WINDOW = "10m"
_SECONDS = 600

JOBS = Jobs("${job_name}")
"""The job that somebody has chosen above the charts; all of them at the start."""


@dataclass(frozen=True)
class Line:
    """Some lines of a chart.

    Attributes:
        title: What they are; labels of the result in `${...}`.
        query: In PromQL.
    """

    title: str
    query: str


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: What it shows.
        unit: Of its values, as https://ucum.org writes it.
        lines: What is drawn.
        stacked: Whether the lines add up to something.
    """

    title: str
    unit: str
    lines: tuple[Line, ...]
    stacked: bool = False


def dashboard(subscription: str) -> dict[str, Any]:
    """Make the content of `dashboard.json`.

    Args:
        subscription: A regular expression for the ids of the subscriptions that jobs listen to.
    """
    tiles = [_tile(number, chart) for number, chart in enumerate(charts(subscription))]
    return {
        "displayName": "beam-predict",
        "labels": {"beam-predict": ""},
        "dashboardFilters": [
            {
                "filterType": "RESOURCE_LABEL",
                "labelKey": "job_name",
                "templateVariable": "job_name",
                "stringValue": "",
            }
        ],
        "mosaicLayout": {"columns": COLUMNS, "tiles": tiles},
    }


def charts(subscription: str) -> list[Chart]:
    """Return the charts, row by row, two in each."""
    return [*_flow(subscription), *_model(), *_endpoint(), *_machines()]


def _flow(subscription: str) -> list[Chart]:
    unacked = subscriptions("oldest_unacked_message_age", subscription)
    return [
        Chart(
            "Inputs, predictions, dead letters",
            "1/s",
            (
                *(Line(name, _rate(name)) for name in (table.INPUTS, table.PREDICTIONS)),
                Line(table.DEAD_LETTERS, _rate(table.DEAD_LETTERS)),
            ),
        ),
        Chart(
            "Dead letters, by stage and error",
            "1/s",
            (_each_rate(table.DEAD_LETTERS, "kind"),),
            stacked=True,
        ),
        Chart(
            "How old messages are: in the subscription, and when their predictions come",
            "s",
            (
                Line("oldest in ${subscription_id}", f"max by (subscription_id) ({unacked})"),
                *_percentiles(table.ARRIVAL_MSEC_LE, seconds=True),
            ),
        ),
        Chart(
            "How far the job is behind",
            "s",
            (
                Line("watermark", f"max by (job_name) ({JOBS.system('data_watermark_age')})"),
                Line("system lag", f"max by (job_name) ({JOBS.system('system_lag')})"),
            ),
        ),
        Chart(
            "Skipped, by reason, and globs that could not be listed",
            "1/s",
            (_each_rate(table.SKIPPED, "reason"), Line(table.FAILED_POLLS, _rate(table.FAILED_POLLS))),
        ),
        Chart("Bytes read", "By/s", (Line(table.BYTES_READ, _rate(table.BYTES_READ)),)),
    ]


def _model() -> list[Chart]:
    files, places = (JOBS.growth(name, _WINDOW) for name in (table.BATCH_FILES, table.BATCH_PLACES))
    return [
        Chart("A batch in the model, or with the endpoint", "ms", _percentiles(table.PREDICT_MSEC_LE)),
        Chart(
            "A batch in the model: mean since the start, slowest",
            "ms",
            (_largest(table.PREDICT_MSEC, "_MEAN", "mean"), _largest(table.PREDICT_MSEC, "_MAX", "slowest")),
        ),
        Chart("How full batches are", "1", (Line("fill", f"{files} / ({places} > 0)"),)),
        Chart("Batches, by their sizes", "1/s", (_each_rate(table.BATCH_SIZE, "size"),), stacked=True),
        Chart(
            "Loads and versions of the model",
            "1",
            tuple(
                Line(name, JOBS.total(name))
                for name in (table.MODEL_LOADS, table.VERSION_SWAPS, table.VERSIONS_REFUSED)
            ),
        ),
        Chart(
            "How long a load takes, at most",
            "ms",
            (
                _largest(table.MODEL_LOAD_MSEC, "_MAX", "load"),
                _largest(table.WARM_UP_MSEC, "_MAX", "warm-up"),
            ),
        ),
        Chart(
            "Engines: processes in which they compute, or were refused",
            "1",
            (_each_total(table.ENGINE, "computes: "), _each_total(table.ENGINE_REFUSED, "refused: ")),
        ),
        Chart(
            "Speed of engines, in thousandths of TensorFlow's",
            "1",
            (
                Line(
                    "${engine}",
                    label_of(
                        f"avg by (job_name, metric_name) ({JOBS.counter(table.ENGINE_SPEEDUP, '_MEAN')})",
                        "engine",
                    ),
                ),
            ),
        ),
    ]


def _endpoint() -> list[Chart]:
    waited = JOBS.growth(table.THROTTLED_MSEC, _WINDOW)
    spent = JOBS.growth(table.PREDICT_MSEC_SUM, _WINDOW)
    return [
        Chart(
            "Requests to the endpoint",
            "1/s",
            (
                Line(table.REQUESTS, _rate(table.REQUESTS)),
                Line(table.RETRIES, _rate(table.RETRIES)),
                _each_rate(table.REQUEST_FAILURES, "status"),
            ),
        ),
        Chart(
            "Waiting because the endpoint is busy",
            "1",
            (
                Line("share of the time of batches", f"{waited} / ({spent} > 0)"),
                Line("threads that wait", _rate(table.THROTTLED_SECONDS)),
            ),
        ),
    ]


def _machines() -> list[Chart]:
    return [
        Chart("vCPUs", "1", (Line("vCPUs", f"sum by (job_name) ({JOBS.system('current_num_vcpus')})"),)),
        Chart("Failed jobs", "1", (Line("failed", f"max by (job_name) ({JOBS.system('is_failed')})"),)),
    ]


def _rate(name: str) -> str:
    return f"{JOBS.growth(name, _WINDOW)} / {_SECONDS}"


def _each_rate(name: str, label: str) -> Line:
    grown = JOBS.growth(name, _WINDOW, by=("job_name", "metric_name"))
    return Line(f"${{{label}}}", label_of(f"{grown} / {_SECONDS}", label))


def _each_total(name: str, title: str) -> Line:
    return Line(f"{title}${{value}}", label_of(JOBS.total(name, by=("job_name", "metric_name")), "value"))


def _largest(name: str, suffix: str, title: str) -> Line:
    return Line(title, f"max by (job_name) ({JOBS.counter(name, suffix)})")


def _percentiles(name: str, seconds: bool = False) -> tuple[Line, ...]:
    shares = {"median": 0.5, "95%": 0.95, "99%": 0.99}
    unit = " / 1000" if seconds else ""
    return tuple(
        Line(title, f"{JOBS.percentile(share, name, _WINDOW)}{unit}") for title, share in shares.items()
    )


def _tile(number: int, chart: Chart) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS // _WIDTH)
    sets = [
        {
            "plotType": "STACKED_AREA" if chart.stacked else "LINE",
            "legendTemplate": f"{line.title} ${{job_name}}"
            if "subscription" not in line.title
            else line.title,
            "timeSeriesQuery": {"prometheusQuery": line.query, "unitOverride": chart.unit},
        }
        for line in chart.lines
    ]
    return {
        "xPos": column * _WIDTH,
        "yPos": row * _HEIGHT,
        "width": _WIDTH,
        "height": _HEIGHT,
        "widget": {"title": chart.title, "xyChart": {"dataSets": sets}},
    }
