"""Waiting for a job in batch: what is told of it, and how the waiting ends."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from google.auth.exceptions import RefreshError, TransportError
from google.cloud import dataflow_v1beta3 as api
from requests.exceptions import ConnectionError as NoConnection

from emulators.credentials import VARIABLE, write_credentials
from emulators.dataflow import Distribution, Refused
from pipeline.cli import main
from pipeline.dataflow import waiting
from pipeline.dataflow.api import Unreachable, find_credentials
from pipeline.dataflow.job_messages import MAX_CHARS, in_one_line, reasons
from pipeline.dataflow.service_errors import passes
from pipeline.exit_codes import DONE, FAILED, INTERRUPTED
from tests.google_cloud import BUCKET, GoogleCloud

RUNNING, QUEUED, PENDING = (
    api.JobState.JOB_STATE_RUNNING,
    api.JobState.JOB_STATE_QUEUED,
    api.JobState.JOB_STATE_PENDING,
)
AWAY = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")
START = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
CRASHED = """Error message from worker: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1501, in process
    return self.do_fn_invoker.invoke_process(windowed_value)
transforms.errors.ModelUnusable: the model is gone

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/worker/sdk_worker.py", line 309, in _execute
    response = task()
RuntimeError: the model is gone [while running 'Predict/Predict']

passed through:
==>
    dist_proc/dax/workflow/worker/fnapi_service_impl.cc:1327
"""
NOTHING_NEW = (
    "Workflow failed. Causes: S01:Read failed., The job failed because a work item has failed 4 times."
)


def told(*texts: str, level: str = "ERROR") -> list[api.JobMessage]:
    importance = api.JobMessageImportance[f"JOB_MESSAGE_{level}"]
    return [
        api.JobMessage(
            id=f"{level}-{number}",
            time=START + timedelta(seconds=number),
            message_text=text,
            message_importance=importance,
        )
        for number, text in enumerate(texts)
    ]


def lines(text: str) -> list[str]:
    """Return lines that begin with a time, without it."""
    return re.findall(r"^\d\d:\d\d:\d\d (.*)$", text, re.MULTILINE)


def test_each_state_is_told_once(cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]) -> None:
    cloud.dataflow.states.extend([QUEUED, QUEUED, PENDING, RUNNING, RUNNING])
    assert main(cloud.flags) == DONE
    printed, complaints = capfd.readouterr()
    assert lines(printed) == ["queued", "pending", "running", "done"]
    assert "inputs" in printed  # the summary
    assert not complaints


def test_warnings_and_errors_are_told_once_and_in_one_line(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud.dataflow.states.extend([RUNNING] * 4)
    cloud.dataflow.messages += told("Workers have started successfully.", level="BASIC")
    cloud.dataflow.messages += told("The network has\nno firewall rule.", level="WARNING")
    cloud.dataflow.messages += told(CRASHED, CRASHED, CRASHED)
    assert main(cloud.flags) == DONE
    assert lines(capfd.readouterr().err) == [
        "warning: The network has no firewall rule.",
        "error: RuntimeError: the model is gone [while running 'Predict/Predict']",
    ]


def test_what_comes_later_is_told_too(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, get = told("first", "second", "third"), cloud.dataflow.get

    def one_more(job_id: str) -> api.Job:
        cloud.dataflow.messages += messages[:1]
        del messages[:1]
        return get(job_id)

    monkeypatch.setattr(cloud.dataflow, "get", one_more)
    cloud.dataflow.states.extend([RUNNING] * 3)
    assert main(cloud.flags) == DONE
    assert lines(capfd.readouterr().err) == ["error: first", "error: second", "error: third"]


def test_dataflow_may_be_away_in_between(cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]) -> None:
    cloud.dataflow.states.extend([RUNNING, *[AWAY] * 20, RUNNING])
    assert main(cloud.flags) == DONE
    printed = lines(capfd.readouterr().out)
    assert [line.partition(":")[0] for line in printed] == [
        "running",
        "Dataflow does not answer, and is asked again",
        "Dataflow answers again",
        "done",
    ]
    assert printed[1].endswith("asked again: 503: The service is currently unavailable.")


def test_a_job_may_be_unknown_at_first(cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]) -> None:
    cloud.dataflow.states.extend([Refused(404, "NOT_FOUND", "no such job"), RUNNING])
    assert main(cloud.flags) == DONE
    assert lines(capfd.readouterr().out)[-2:] == ["running", "done"]


@pytest.mark.parametrize(
    "refused",
    [Refused(403, "PERMISSION_DENIED", "caller lacks dataflow.jobs.get"), Refused(404, "NOT_FOUND", "gone")],
    ids=["403", "404"],
)
def test_who_may_not_watch_any_more_is_told(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], refused: Refused
) -> None:
    cloud.dataflow.states.extend([RUNNING, refused])
    assert main(cloud.flags) == FAILED
    complaints = capfd.readouterr().err
    assert f"job {cloud.dataflow.job.id} goes on, but Dataflow no longer tells of it: " in complaints
    assert str(refused) in complaints
    assert "Traceback" not in complaints


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NoConnection("no route"), True),
        (TransportError("no token now"), True),
        (RefreshError("the token server is away", retryable=True), True),
        (RefreshError("reauthentication is needed"), False),
    ],
)
def test_what_is_wrong_with_the_network_passes(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


def test_a_job_that_fails_tells_why_and_where_its_logs_are(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud.dataflow.messages += told(NOTHING_NEW, CRASHED, CRASHED)
    cloud.dataflow.batch_ends_as = api.JobState.JOB_STATE_FAILED
    assert main(cloud.flags) == FAILED
    job = cloud.dataflow.job.id
    assert capfd.readouterr().err.endswith(
        f"beam-predict: job {job} has failed:\n"
        "  RuntimeError: the model is gone [while running 'Predict/Predict']\n"
        f"  {NOTHING_NEW}\n"
        f'its logs: gcloud logging read \'resource.type="dataflow_step" resource.labels.job_id="{job}" '
        "severity>=ERROR' --project=my-project --limit=20\n"
    )


def test_the_reason_may_come_after_the_end(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    list_messages = cloud.dataflow.list_messages

    def late(*of: Any) -> api.ListJobMessagesResponse:
        asked.append(of)
        if len(asked) == 4:
            cloud.dataflow.messages += told("out of memory")
        return list_messages(*of)

    monkeypatch.setattr(cloud.dataflow, "list_messages", late)
    cloud.dataflow.batch_ends_as = api.JobState.JOB_STATE_FAILED
    assert main(cloud.flags) == FAILED
    assert "has failed:\n  out of memory\n" in capfd.readouterr().err


def test_who_does_not_wait_for_the_reason_is_told_the_end(
    cloud: GoogleCloud,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupt: Callable[[], None],
) -> None:
    asked: list[Any] = []
    list_messages = cloud.dataflow.list_messages

    def interrupted(*of: Any) -> api.ListJobMessagesResponse:
        asked.append(of)
        if len(asked) == 3:
            interrupt()
        return list_messages(*of)

    monkeypatch.setattr(cloud.dataflow, "list_messages", interrupted)
    cloud.dataflow.batch_ends_as = api.JobState.JOB_STATE_FAILED
    assert main(cloud.flags) == FAILED
    printed, complaints = capfd.readouterr()
    assert lines(printed) == ["failed", "Dataflow tells the reason soon; it is waited for, for up to 50 s"]
    assert f"beam-predict: job {cloud.dataflow.job.id} has failed\nits logs: " in complaints
    assert "goes on" not in complaints


def test_no_reason_is_waited_for_for_ever(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "REASON_SECONDS", 0.0)
    cloud.dataflow.batch_ends_as = api.JobState.JOB_STATE_FAILED
    assert main(cloud.flags) == FAILED
    assert f"beam-predict: job {cloud.dataflow.job.id} has failed\nits logs: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("state", "ending"),
    [("CANCELLED", "was cancelled"), ("DRAINED", "was drained"), ("UPDATED", "was replaced by an update")],
)
def test_a_job_that_was_ended_is_told(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], state: str, ending: str
) -> None:
    cloud.dataflow.batch_ends_as = api.JobState[f"JOB_STATE_{state}"]
    assert main(cloud.flags) == FAILED
    complaints = capfd.readouterr().err
    assert f"beam-predict: job {cloud.dataflow.job.id} {ending}" in complaints
    assert "Traceback" not in complaints


def test_progress_is_told_from_time_to_time(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PROGRESS_SECONDS", 0.0)
    counters: Mapping[str, int] = {"inputs": 5_000, "predictions": 4_997, "dead_letters/read/FileMissing": 3}
    cloud.dataflow.counters.update(counters)
    cloud.dataflow.states.extend([RUNNING] * 2)
    assert main(cloud.flags) == DONE
    progress = "4,997 of 5,000 inputs predicted, 3 dead letters"
    assert lines(capfd.readouterr().out) == ["running", progress, "done"]


def test_progress_that_cannot_be_had_costs_nothing(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PROGRESS_SECONDS", 0.0)
    refusals, metrics = [Refused(403, "PERMISSION_DENIED", "no")], cloud.dataflow.metrics

    def refused_once(job_id: str) -> api.JobMetrics:
        if refusals:
            raise refusals.pop()
        return metrics(job_id)

    monkeypatch.setattr(cloud.dataflow, "metrics", refused_once)
    cloud.dataflow.states.extend([RUNNING] * 2)
    assert main(cloud.flags) == DONE
    printed, complaints = capfd.readouterr()
    assert (lines(printed), refusals) == (["running", "done"], [])
    assert not complaints


def test_numbers_that_cannot_be_had_at_the_end_are_told(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: str) -> api.JobMetrics:
        raise Refused(403, "PERMISSION_DENIED", "caller lacks dataflow.metrics.get")

    monkeypatch.setattr(cloud.dataflow, "metrics", refused)
    assert main(cloud.flags) == FAILED
    complaints = capfd.readouterr().err
    assert "the job is done, but Dataflow does not tell its numbers (403: " in complaints
    assert "Traceback" not in complaints


def test_who_does_not_wait_for_the_numbers_is_told_that_the_job_is_done(
    cloud: GoogleCloud,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupt: Callable[[], None],
    released: threading.Event,
) -> None:
    def interrupted(_: str) -> api.JobMetrics:
        interrupt()
        released.wait()
        raise AWAY

    monkeypatch.setattr(cloud.dataflow, "metrics", interrupted)
    assert main(cloud.flags) == INTERRUPTED
    told = f"beam-predict: interrupted; job {cloud.dataflow.job.id} is done, but no summary was made\n"
    assert capfd.readouterr().err == told


def test_an_outage_right_after_the_acceptance_passes(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline, failures = write_credentials(tmp_path, "http://localhost:9/token"), []

    def find(*of: Any) -> Any:
        if failures:
            return find_credentials(*of)
        with monkeypatch.context() as patch:
            patch.setenv(VARIABLE, str(offline))
            try:
                return find_credentials(*of)
            except Unreachable as error:
                failures.append(error)
                raise

    monkeypatch.setattr(waiting, "find_credentials", find)
    assert main(cloud.flags) == DONE
    assert len(failures) == 1
    assert [line.partition(":")[0] for line in lines(capfd.readouterr().out)] == [
        "Dataflow does not answer, and is asked again",
        "Dataflow answers again",
        "done",
    ]


def test_the_summary_has_what_dataflow_tells_of_distributions(cloud: GoogleCloud) -> None:
    cloud.dataflow.distributions["model_load_msec"] = Distribution(count=2, sum=5_000, min=1_000, max=4_000)
    cloud.dataflow.distributions["engine_speedup/openvino"] = Distribution(2, 3_500, 1_500, 2_000)
    assert main(cloud.flags) == DONE
    (blob,) = cloud.storage.list_blobs(BUCKET, prefix="out/summary.json")
    summary = json.loads(blob.download_as_bytes())
    assert summary["model_load_seconds"] == 4.0
    assert summary["engine_speedups"] == {"openvino": 1.75}


def test_who_no_longer_waits_is_told_how_to_end_the_job(
    cloud: GoogleCloud,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupt: Callable[[], None],
) -> None:
    get = cloud.dataflow.get

    def interrupted(job_id: str) -> api.Job:
        interrupt()
        return get(job_id)

    monkeypatch.setattr(cloud.dataflow, "get", interrupted)
    cloud.dataflow.states.extend([RUNNING] * 1_000)
    assert main(cloud.flags) == INTERRUPTED
    complaints = capfd.readouterr().err
    assert f"no longer waiting for job {cloud.dataflow.job.id}, which goes on" in complaints
    assert f"gcloud dataflow jobs cancel {cloud.dataflow.job.id} --project=my-project" in complaints


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\n  two\n", "one two"),
        ("", ""),
        ("Traceback (most recent call last):\n  cut", "cut"),
        ("x" * 10_000, f"{'x' * MAX_CHARS}..."),
        ("passed through: nothing", "passed through: nothing"),
    ],
)
def test_any_message_is_one_line(text: str, line: str) -> None:
    assert in_one_line(text) == line


def test_the_first_reasons_come_first() -> None:
    assert reasons([NOTHING_NEW, "a", "b"]) == ["a", "b", NOTHING_NEW]
    assert reasons([NOTHING_NEW, "a", "b"], at_most=2) == ["a", "b"]
    assert reasons([]) == []
