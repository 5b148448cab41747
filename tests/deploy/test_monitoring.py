"""deploy/monitoring: it is current, what Google's message types take, and true to the table of metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.cloud.monitoring_dashboard_v1 import Dashboard
from google.cloud.monitoring_v3 import AlertPolicy
from google.protobuf import json_format

from pipeline.monitoring.__main__ import main
from pipeline.monitoring.alerts import alerts
from pipeline.monitoring.dashboard import COLUMNS, charts
from pipeline.monitoring.files import (
    DOCS,
    FOLDER,
    JOB_NAME,
    RUNBOOK,
    SUBSCRIPTION,
    metrics_page,
    monitoring_files,
)
from pipeline.monitoring.promql import Jobs, names_in
from tests.conftest import ROOT
from transforms.metric_table import METRICS

FILES = monitoring_files(JOB_NAME, SUBSCRIPTION, RUNBOOK)
ALERTS = alerts(Jobs.named(JOB_NAME), SUBSCRIPTION)
QUERIES = [line.query for chart in charts(SUBSCRIPTION) for line in chart.lines] + [
    one.query for one in ALERTS
]
EACH_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
MAX_PROMPT_CHARS = 255


def policy_of(name: str) -> AlertPolicy:
    policy = AlertPolicy()
    json_format.Parse(FILES[f"alerts/{name}.json"], AlertPolicy.pb(policy))
    return policy


def test_the_files_are_current() -> None:
    written = {
        str(path.relative_to(ROOT / FOLDER)): path.read_text() for path in (ROOT / FOLDER).rglob("*.json")
    }
    assert written == FILES, "run: python -m pipeline.monitoring"
    assert (ROOT / DOCS).read_text() == metrics_page(), "run: python -m pipeline.monitoring"


def test_the_dashboard_is_what_google_takes() -> None:
    dashboard = Dashboard()
    json_format.Parse(FILES["dashboard.json"], Dashboard.pb(dashboard))
    (chosen,) = dashboard.dashboard_filters
    assert (chosen.label_key, chosen.template_variable) == ("job_name", "job_name")
    assert all(len(tile.widget.xy_chart.data_sets) for tile in dashboard.mosaic_layout.tiles)


def test_the_charts_of_the_dashboard_do_not_overlap() -> None:
    layout = json.loads(FILES["dashboard.json"])["mosaicLayout"]
    taken = set()
    for tile in layout["tiles"]:
        assert tile["xPos"] + tile["width"] <= COLUMNS
        places = {
            (tile["xPos"] + x, tile["yPos"] + y) for x in range(tile["width"]) for y in range(tile["height"])
        }
        assert not taken & places
        taken |= places


def test_each_metric_is_on_the_dashboard_and_none_besides() -> None:
    shown = set[str]().union(
        *(names_in(line.query) for chart in charts(SUBSCRIPTION) for line in chart.lines)
    )
    assert shown == {metric.name for metric in METRICS}


@EACH_ALERT
def test_an_alert_is_what_google_takes(alert: Any) -> None:
    policy = policy_of(alert.name)
    (condition,) = policy.conditions  # more than one is refused where one is in PromQL
    told = condition.condition_prometheus_query_language
    assert told.query == alert.query
    assert told.evaluation_interval.total_seconds() % 30 == 0
    assert re.fullmatch(r"[a-z_]+", told.alert_rule)
    assert policy.alert_strategy.auto_close.total_seconds() >= 1_800
    assert policy.severity.name == alert.severity
    assert len(policy.documentation.subject) <= MAX_PROMPT_CHARS
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) for key in policy.user_labels)


@EACH_ALERT
def test_an_alert_leads_to_a_section_of_the_runbook(alert: Any) -> None:
    path, _, anchor = re.findall(r"\((.+?)\)$", policy_of(alert.name).documentation.content)[0].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query_is_balanced_and_names_what_is_counted(query: str) -> None:
    assert names_in(query) <= {metric.name for metric in METRICS}
    opened: list[str] = []
    for sign in re.sub(r'"(?:[^"\\]|\\.)*"', "", query.replace("${job_name}", "")):
        if sign in "({[":
            opened.append(sign)
        elif sign in ")}]":
            assert opened.pop() + sign in {"()", "{}", "[]"}
    assert not opened


def test_files_for_jobs_of_ones_own_are_about_these(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--job_name", 'photos-\\d"', "--subscription", "photos", "--runbook", "https://example.com/book"]
    assert main([*flags, "--folder", str(tmp_path)]) == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}
    assert written == set(FILES)
    assert len(capsys.readouterr().out.splitlines()) == len(FILES)
    backlog = json.loads((tmp_path / "alerts/backlog.json").read_text())
    failed = json.loads((tmp_path / "alerts/job-failed.json").read_text())
    assert 'subscription_id=~"photos"' in str(backlog)
    query = failed["conditions"][0]["conditionPrometheusQueryLanguage"]["query"]
    assert r'job_name=~"photos-\\d\""' in query
    assert "(https://example.com/book#job-failed)" in failed["documentation"]["content"]
