"""`--overwrite` on Dataflow: what an earlier run has left goes when the job is accepted, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden
from google.cloud import dataflow_v1beta3 as api

from emulators.dataflow import Refused
from pipeline.cli import main
from pipeline.exit_codes import DONE, FAILED, INTERRUPTED
from tests.google_cloud import BUCKET, GoogleCloud
from transforms.storage.gcs import GcsStorage

EARLIER = [
    "out/.incomplete-predictions-20260101T000000-00112233aabb.jsonl",
    "out/dead_letters-20260101T000000-00112233aabb.jsonl",
    "out/predictions-20260101T000000-00112233aabb.jsonl",
    "out/summary.json",
]
FOREIGN = "out/notes.txt"
NEW = [
    "out/.incomplete-predictions-20260102T000000-ffeeddccbbaa.jsonl",
    "out/predictions-20260102T000000-ffeeddccbbaa.jsonl",
]
UNAVAILABLE = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")


def write(cloud: GoogleCloud, *names: str) -> None:
    for name in names:
        cloud.storage.bucket(BUCKET).blob(name).upload_from_string("{}\n")


def output(cloud: GoogleCloud) -> list[str]:
    return sorted(blob.name for blob in cloud.storage.list_blobs(BUCKET, prefix="out/"))


@pytest.fixture
def earlier(cloud: GoogleCloud) -> GoogleCloud:
    """A cloud with the output of an earlier run, and a file that is none of it."""
    write(cloud, *EARLIER, FOREIGN)
    return cloud


def overwrite(cloud: GoogleCloud, *flags: str) -> int:
    return main([*cloud.flags, "--overwrite", *flags])


@pytest.mark.parametrize(
    "refusals",
    [
        [Refused(400, "INVALID_ARGUMENT", "The workflow could not be created.")],
        [Refused(403, "PERMISSION_DENIED", "Current user cannot act as service account.")],
        [Refused(409, "ALREADY_EXISTS", "There is already an active job.")],
        [UNAVAILABLE] * 10,
    ],
    ids=["400", "403", "409", "503"],
)
def test_a_job_that_is_refused_costs_no_earlier_output(earlier: GoogleCloud, refusals: list[Refused]) -> None:
    earlier.dataflow.refusals.extend(refusals)
    assert overwrite(earlier) == FAILED
    assert output(earlier) == sorted([*EARLIER, FOREIGN])


def test_an_interrupted_submission_costs_none_either(
    earlier: GoogleCloud, monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], None]
) -> None:
    def interrupted(*_: str) -> api.Job:
        interrupt()
        raise UNAVAILABLE

    monkeypatch.setattr(earlier.dataflow, "create", interrupted)
    assert overwrite(earlier) == INTERRUPTED
    assert output(earlier) == sorted([*EARLIER, FOREIGN])


def test_who_does_not_wait_for_the_answer_is_told_what_the_job_writes_beside(
    earlier: GoogleCloud,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupt: Callable[[], None],
    released: threading.Event,
) -> None:
    create = earlier.dataflow.create

    def answers_late(*of: str) -> api.Job:
        job = create(*of)
        interrupt()
        released.wait()
        return job

    monkeypatch.setattr(earlier.dataflow, "create", answers_late)
    assert overwrite(earlier) == INTERRUPTED
    assert output(earlier) == sorted([*EARLIER, FOREIGN])
    complaints = capfd.readouterr().err
    assert f"Dataflow has taken the job {earlier.dataflow.job.name}, {earlier.dataflow.job.id}" in complaints
    assert "4 of the files that an earlier run has left are still there (the job writes beside them)" in (
        complaints
    )


def test_an_accepted_job_costs_exactly_the_earlier_output(
    earlier: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = earlier.dataflow.create

    def at_work(*of: str) -> api.Job:
        job = create(*of)
        write(earlier, *NEW)  # workers that start at once, as none do
        return job

    monkeypatch.setattr(earlier.dataflow, "create", at_work)
    assert overwrite(earlier, "--no_wait") == DONE
    assert output(earlier) == sorted([FOREIGN, *NEW])


def test_it_is_gone_before_the_job_is_waited_for(
    earlier: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, found = earlier.dataflow.get, []

    def seen(job_id: str) -> api.Job:
        found.append(output(earlier))
        return get(job_id)

    monkeypatch.setattr(earlier.dataflow, "get", seen)
    assert overwrite(earlier) == DONE
    assert found == [[FOREIGN]]
    assert output(earlier) == [FOREIGN, "out/summary.json"]  # the new one


def test_nothing_is_deleted_unless_it_is_asked_for(earlier: GoogleCloud) -> None:
    assert main([*earlier.flags, "--no_wait", "--skip_preflight"]) == DONE
    assert output(earlier) == sorted([*EARLIER, FOREIGN])


def test_what_cannot_be_deleted_is_told_and_the_job_goes_on(
    earlier: GoogleCloud, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, kept = GcsStorage.delete, f"gs://{BUCKET}/{EARLIER[2]}"

    def refused(storage: GcsStorage, uri: str) -> None:
        if uri == kept:
            raise Forbidden("no storage.objects.delete")  # type: ignore[no-untyped-call]
        delete(storage, uri)

    monkeypatch.setattr(GcsStorage, "delete", refused)
    assert overwrite(earlier) == FAILED
    assert set(output(earlier)) == {EARLIER[2], FOREIGN, "out/summary.json"}
    printed, complaints = capfd.readouterr()
    assert "1 of the files that an earlier run has left are still there" in complaints
    assert f"\n  gcloud storage rm {kept}\n" in complaints
    assert f"job {earlier.dataflow.job.id} goes on, and writes beside them" in complaints
    assert "done" in printed  # it was waited for


def test_who_does_not_wait_for_it_is_told_what_is_left(
    earlier: GoogleCloud,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupt: Callable[[], None],
    released: threading.Event,
) -> None:
    delete, slow = GcsStorage.delete, f"gs://{BUCKET}/{EARLIER[1]}"

    def waits(storage: GcsStorage, uri: str) -> None:
        if uri == slow:
            interrupt()
            released.wait()
            return
        delete(storage, uri)

    monkeypatch.setattr(GcsStorage, "delete", waits)
    assert overwrite(earlier) == INTERRUPTED
    assert EARLIER[1] in output(earlier)
    complaints = capfd.readouterr().err
    assert slow in complaints.partition("gcloud storage rm ")[2]
    assert f"no longer waiting for job {earlier.dataflow.job.id}, which goes on" in complaints


def test_a_template_replaces_nothing(earlier: GoogleCloud, capfd: pytest.CaptureFixture[str]) -> None:
    assert overwrite(earlier, f"--template_location=gs://{BUCKET}/templates/photos") == DONE
    assert output(earlier) == sorted([*EARLIER, FOREIGN])
    printed, complaints = capfd.readouterr()
    assert f"the template is gs://{BUCKET}/templates/photos" in printed
    assert "a template replaces nothing; its jobs add to them" in complaints
    names: Any = complaints.partition("gcloud storage rm ")[2].split()
    assert sorted(names) == sorted(f"gs://{BUCKET}/{name}" for name in EARLIER)
