"""Handing a job to Dataflow: what is told when it is taken, and when it is not."""

from __future__ import annotations

import pytest
from google.cloud import dataflow_v1beta3 as api

from emulators.dataflow import Refused
from pipeline.cli import main
from pipeline.exit_codes import DONE, FAILED
from tests.google_cloud import BUCKET, GoogleCloud


def submit(cloud: GoogleCloud, *flags: str) -> int:
    return main([*cloud.flags, "--no_wait", *flags])


@pytest.mark.parametrize(
    ("code", "status", "message", "remedy"),
    [
        (400, "INVALID_ARGUMENT", "(1a): The workflow could not be created.", "must be changed"),
        (
            403,
            "PERMISSION_DENIED",
            "(1b): Current user cannot act as service account.",
            "roles/dataflow.developer",
        ),
        (409, "ALREADY_EXISTS", "(1c): There is already an active job named photos.", "another --job_name"),
        (429, "RESOURCE_EXHAUSTED", "(1d): The project has reached its quota.", "try again later"),
    ],
)
def test_a_refusal_is_told_without_a_traceback(  # noqa: PLR0917
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], code: int, status: str, message: str, remedy: str
) -> None:
    cloud.dataflow.refusals.append(Refused(code, status, message))

    assert submit(cloud) == FAILED

    complaints = capfd.readouterr().err
    assert f"beam-predict: Dataflow refuses the job ({code}): " in complaints
    assert message in complaints
    assert remedy in complaints
    assert "Traceback" not in complaints
    assert not cloud.dataflow.jobs


def test_a_service_that_is_not_available_is_tried_again(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cloud.dataflow.refusals.append(Refused(503, "UNAVAILABLE", "The service is currently unavailable."))
    assert submit(cloud) == DONE
    assert "submit_job_description failed, and is tried again in " in caplog.text
    assert "Traceback" not in caplog.text + capfd.readouterr().err
    assert len(cloud.dataflow.jobs) == 1


def test_a_service_that_stays_unavailable_is_given_up(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")
    cloud.dataflow.refusals.extend([refused] * 10)
    assert submit(cloud) == FAILED
    complaints = capfd.readouterr().err
    assert "Dataflow refuses the job (503): " in complaints
    assert "Dataflow is not available; try again later" in complaints
    assert "Traceback" not in complaints


def test_two_jobs_of_one_name_are_told_before_the_start(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    assert submit(cloud, "--job_name=photos") == DONE
    assert submit(cloud, "--job_name=photos") == 2
    assert "--job_name photos is the name of a job that runs" in capfd.readouterr().err


def test_two_jobs_of_one_name_are_told_by_dataflow_too(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    assert submit(cloud, "--job_name=photos") == DONE
    assert submit(cloud, "--job_name=photos", "--skip_preflight") == FAILED
    complaints = capfd.readouterr().err
    assert "There is already active job named photos" in complaints
    assert "give another --job_name" in complaints
    assert "Traceback" not in complaints


def test_a_running_job_is_replaced(cloud: GoogleCloud) -> None:
    streaming = ("--job_name=photos", "--watch=5")
    assert submit(cloud, *streaming) == DONE
    first = cloud.dataflow.job
    mapping = '{"WritePredictions": "Write"}'
    assert submit(cloud, *streaming, "--update", f"--transform_name_mapping={mapping}") == DONE
    second = cloud.dataflow.job
    assert (second.replace_job_id, second.name) == (first.id, "photos")
    assert dict(second.transform_name_mapping) == {"WritePredictions": "Write"}
    assert first.current_state == api.JobState.JOB_STATE_UPDATED


def test_an_update_of_no_job_ends_though_nothing_is_checked(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ("--job_name=photos", "--watch=5", "--update", "--skip_preflight")
    assert submit(cloud, *flags) == FAILED
    assert "--update: there is no job photos in us-central1 to replace" in capfd.readouterr().err


def test_what_is_skipped_is_not_looked_at(cloud: GoogleCloud) -> None:
    cloud.dataflow.requests.clear()
    assert submit(cloud, "--skip_preflight", f"--input=gs://{BUCKET}/none/*") == DONE
    assert [kind for kind, path in cloud.dataflow.requests if path.endswith("/jobs")] == ["POST"]
