"""Handing a job to Dataflow: what is told when it is taken, and when it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from google.api_core.exceptions import Forbidden
from google.cloud import dataflow_v1beta3 as api
from google.cloud.storage.fileio import BlobWriter
from requests.exceptions import ConnectionError as NoConnection

from emulators.dataflow import Refused
from pipeline.cli import main
from pipeline.dataflow import handover
from pipeline.exit_codes import DONE, FAILED, INTERRUPTED
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
    assert "POST" not in complaints  # the request, which Google's library puts before the answer
    assert "Traceback" not in complaints
    assert not cloud.dataflow.jobs


def test_a_service_that_is_not_available_is_tried_again(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cloud.dataflow.refusals.append(Refused(503, "UNAVAILABLE", "The service is currently unavailable."))
    assert submit(cloud) == DONE
    assert "submit_job_description failed, and is tried again in " in caplog.text
    assert "POST" not in caplog.text
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
    assert "Dataflow is not available; try again later\nno job was started" in complaints
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
    assert "give another --job_name, or replace that job with --update if it is streaming" in complaints
    assert "Traceback" not in complaints


def test_a_job_without_a_name_of_its_own_is_told_by_the_one_that_it_gets(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    assert submit(cloud) == DONE
    job = cloud.dataflow.job
    assert f"started job {job.name}, {job.id}\n" in capfd.readouterr().out


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


class TestInterrupted:
    """Ctrl-C while the job is handed over."""

    @pytest.fixture
    def sent(
        self,
        cloud: GoogleCloud,
        monkeypatch: pytest.MonkeyPatch,
        interrupt: Callable[[], None],
        released: threading.Event,
    ) -> list[tuple[str, ...]]:
        """The requests for a job, each interrupted before it is answered, and not yet granted."""
        requests: list[tuple[str, ...]] = []

        def never_answers(*of: str) -> api.Job:
            requests.append(of)
            interrupt()
            released.wait()
            raise Refused(503, "UNAVAILABLE", "nobody listens any more")

        monkeypatch.setattr(cloud.dataflow, "create", never_answers)
        return requests

    def test_a_job_that_was_taken_is_told(
        self,
        cloud: GoogleCloud,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        sent: list[tuple[str, ...]],
    ) -> None:
        monkeypatch.setattr(handover, "SECONDS_TO_APPEAR", 60.0)
        create, list_jobs = type(cloud.dataflow).create, cloud.dataflow.list_jobs
        looks: list[object] = []

        def taken_late(*of: object) -> api.ListJobsResponse:
            looks.append(of)
            if len(looks) == 3:
                create(cloud.dataflow, *sent[0])
            return list_jobs(*of)  # type: ignore[arg-type]

        monkeypatch.setattr(cloud.dataflow, "list_jobs", taken_late)
        assert submit(cloud, "--job_name=photos", "--skip_preflight") == INTERRUPTED
        job = cloud.dataflow.job.id
        assert capfd.readouterr().err.endswith(
            f"beam-predict: interrupted; Dataflow has taken the job photos, {job}, which goes on; "
            f"`gcloud dataflow jobs cancel {job} --project=my-project --region=us-central1` ends it\n"
        )

    def test_a_job_that_may_come_yet_is_told(
        self, cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], sent: list[tuple[str, ...]]
    ) -> None:
        assert submit(cloud, "--job_name=photos") == INTERRUPTED
        complaints = capfd.readouterr().err
        assert len(sent) == 1
        assert "interrupted; Dataflow knows no such job yet: `gcloud dataflow jobs list " in complaints
        assert "--filter=name=photos --status=active --project=my-project --region=us-central1" in complaints

    @pytest.mark.usefixtures("sent")
    def test_where_nobody_can_be_asked_the_user_can(
        self, cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
    ) -> None:
        cloud.dataflow.list_refusals.append(Refused(403, "PERMISSION_DENIED", "may not list"))
        assert submit(cloud, "--job_name=photos", "--skip_preflight") == INTERRUPTED
        complaints = capfd.readouterr().err
        assert "Dataflow may have taken the job, but cannot be asked (403: may not list): " in complaints
        assert "`gcloud dataflow jobs cancel JOB_ID --project=my-project --region=us-central1`" in complaints

    @pytest.mark.usefixtures("sent")
    def test_the_job_that_was_to_be_replaced_is_not_the_one_that_was_taken(
        self, cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        streaming = ("--job_name=photos", "--watch=5")
        with monkeypatch.context() as patch:
            patch.setattr(cloud.dataflow, "create", type(cloud.dataflow).create.__get__(cloud.dataflow))
            assert submit(cloud, *streaming) == DONE
        assert submit(cloud, *streaming, "--update") == INTERRUPTED
        assert "Dataflow knows no such job yet" in capfd.readouterr().err

    def test_nothing_is_asked_where_nothing_was_sent(
        self, cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(BlobWriter, "write", interrupted)
        cloud.dataflow.requests.clear()
        assert submit(cloud, "--skip_preflight") == INTERRUPTED
        assert capfd.readouterr().err == "beam-predict: interrupted; nothing was started\n"
        assert not [path for _, path in cloud.dataflow.requests if path.endswith("/jobs")]


def test_a_dataflow_that_cannot_be_reached_is_told(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = "http://localhost:9"
    assert submit(cloud, "--skip_preflight", f"--dataflow_endpoint={nobody}") == FAILED
    complaints = capfd.readouterr().err
    assert (
        f"beam-predict: {nobody} cannot be reached (Connection refused); see to this machine's" in complaints
    )
    assert "Traceback" not in complaints


@pytest.mark.parametrize(
    "error",
    [Forbidden("no storage.objects.create"), NoConnection("reset by peer"), OSError("the disk is full")],  # type: ignore[no-untyped-call]
    ids=["right", "network", "disk"],
)
def test_files_that_cannot_be_staged_are_told(
    cloud: GoogleCloud,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr(BlobWriter, "write", refused)
    assert submit(cloud, "--skip_preflight") == FAILED
    complaints = capfd.readouterr().err
    assert f"beam-predict: the job's files cannot be copied to gs://{BUCKET}/" in complaints
    assert str(error) in complaints
    assert complaints.endswith("; no job was started\n")
    assert "Traceback" not in complaints


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--requirements_file=none.txt"], "The file none.txt cannot be found."),
        (["--extra_package=none.tar.gz"], "The file none.tar.gz cannot be found."),
        (["--experiments=pre_optimize=none.such"], "Unknown or inapplicable phase for pre_optimize"),
    ],
)
def test_what_beam_says_of_flags_is_told_without_a_traceback(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert submit(cloud, "--skip_preflight", *flags) == FAILED
    complaints = capfd.readouterr().err
    assert f"beam-predict: Beam does not take the job: {told}" in complaints
    assert complaints.endswith("; no job was started\n")
    assert "Traceback" not in complaints


def test_an_error_of_another_kind_keeps_its_traceback(
    cloud: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(BlobWriter, "write", broken)
    assert submit(cloud, "--skip_preflight") == FAILED
    complaints = capfd.readouterr().err
    assert "ValueError: a defect" in complaints
    assert complaints.endswith("beam-predict: failed; nothing was started\n")
