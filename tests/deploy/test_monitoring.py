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
from pipeline.monitoring.documentation import RUNBOOK, notification
from pipeline.monitoring.files import (
    DOCS,
    FOLDER,
    JOB_NAME,
    SUBSCRIPTION,
    metrics_page,
    monitoring_files,
    runbook_page,
)
from pipeline.monitoring.promql import Jobs, names_in
from pipeline.monitoring.remedies import REMEDIES
from tests.conftest import ROOT
from transforms.metric_table import METRICS

FILES = monitoring_files(JOB_NAME, SUBSCRIPTION)
ALERTS = alerts(Jobs.named(JOB_NAME), SUBSCRIPTION)
QUERIES = [line.query for chart in charts(SUBSCRIPTION) for line in chart.lines] + [
    one.query for one in ALERTS
]
EACH_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
MAX_PROMPT_CHARS = 255
MAX_CONTENT_CHARS, MAX_CONTENT_BYTES = 8_192, 10_240  # of AlertPolicy.Documentation
BOOK = f"https://example.com/{'a-long-way/' * 10}{RUNBOOK}"
LINK = re.compile(r"\]\(([^)]*)\)")


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
    page = (ROOT / RUNBOOK).read_text()
    assert runbook_page(page) == page, "run: python -m pipeline.monitoring"


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


def test_each_alert_has_a_remedy_and_none_is_left() -> None:
    assert [alert.name for alert in ALERTS] == list(REMEDIES)


@EACH_ALERT
def test_a_notification_says_what_to_do_without_dead_links(alert: Any) -> None:
    content = policy_of(alert.name).documentation.content
    assert content.startswith(alert.meaning)
    assert not LINK.search(content)
    for command in REMEDIES[alert.name].commands:
        assert command in content


@EACH_ALERT
def test_the_links_of_a_notification_lead_to_the_runbook_where_its_address_is_told(alert: Any) -> None:
    content = notification(alert, BOOK)
    assert content.endswith(f"({BOOK}#{alert.name})")
    for target in LINK.findall(content):
        assert target.startswith(BOOK.removesuffix(RUNBOOK))
        path, _, anchor = target.removeprefix(BOOK.removesuffix(RUNBOOK)).partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}


@EACH_ALERT
def test_a_notification_is_no_longer_than_google_takes(alert: Any) -> None:
    content = notification(alert, BOOK)
    assert len(content) <= MAX_CONTENT_CHARS
    assert len(content.encode()) <= MAX_CONTENT_BYTES


@EACH_ALERT
def test_the_variables_of_a_notification_are_what_the_query_tells_apart(alert: Any) -> None:
    """Cloud Monitoring fills in `${...}`, and nothing else that looks like a variable of the shell."""
    used = set(re.findall(r"\$\{([^}]*)\}", notification(alert, BOOK)))
    assert used == {"project", f"metric_or_resource.label.{alert.label}"}
    assert f"by ({alert.label})" in alert.query


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


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--job_name", "photos-(", "regular expression, such as 'photos-.*'; 'photos-(' is none"),
        ("--job_name", "", "must not be empty"),
        ("--job_name", "photos-(?!test)", "regular expression of RE2"),
        ("--subscription", "*", "'*' is none"),
        ("--subscription", "projects/my-project/topics/photos", "projects/PROJECT/subscriptions/ID"),
        ("--runbook", "docs/runbook.md", "must be an address, such as https://"),
        ("--runbook", "ftp://example.com/runbook.md", "must be an address, such as https://"),
        ("--folder", "taken/out", "pass another --folder"),
    ],
)
def test_a_value_that_cannot_be_used_is_told(  # noqa: PLR0917
    flag: str,
    value: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    with pytest.raises(SystemExit, match="2"):
        main([flag, value])
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


@pytest.mark.parametrize("name", ["projects/my-project/subscriptions/photos", "photos"])
def test_a_subscription_may_be_told_by_its_whole_name(name: str, tmp_path: Path) -> None:
    assert main(["--subscription", name, "--folder", str(tmp_path)]) == 0
    for file in ("alerts/backlog.json", "dashboard.json"):
        assert 'subscription_id=~\\"photos\\"' in (tmp_path / file).read_text()


def test_what_is_committed_is_left_alone_where_other_files_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--job_name", "photos-.*"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert (tmp_path / "out/monitoring/dashboard.json").exists()


def test_without_flags_the_runbook_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "docs/runbook.md is not here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_help_tells_what_is_written_without_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert f"Without flags, those that are committed are written anew: {FOLDER}, {DOCS}" in told
    assert RUNBOOK in told


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
