"""The file that Google's launcher runs, in a process of its own, with what the launcher passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.internal.gcp import auth
from google.api_core.exceptions import Forbidden
from google.cloud.dataflow_v1beta3 import Job, JobType
from google.protobuf import json_format

from emulators.pubsub import create_subscription, create_topic
from pipeline.flex_template.launcher import main
from tests.conftest import MODEL
from tests.digits_endpoint import ADDRESS, digits_endpoint, proxied
from tests.google_cloud import BUCKET, PROJECT, REGION, GoogleCloud, google_cloud
from transforms.storage.gcs import GcsStorage

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "deploy" / "flex_template.py"
IMAGE = "europe-docker.pkg.dev/my-project/images/beam-predict:0.1.0"
JOB_OBJECT = "staging/template_launches/2026-01-01/job_object"
NOT_DESCRIBED = {"sdk_harness_container_image_overrides": "no comma"}
"""What only Beam refuses, when it describes the job."""

RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(*sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[GoogleCloud]:
    with google_cloud() as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder in which the launcher runs."""
    made = tmp_path / "launcher"
    made.mkdir()
    return made


@pytest.fixture
def earlier(cloud: GoogleCloud) -> Iterator[list[str]]:
    """The output of an earlier run, and the last a file that is none of it."""
    stamp = "20260101T000000-00112233aabb"
    names = [f"out/predictions-{stamp}.jsonl", f"out/dead_letters-{stamp}.jsonl", "out/summary.json"]
    bucket = cloud.storage.bucket(BUCKET)
    for name in (made := [*names, "out/notes.txt"]):
        bucket.blob(name).upload_from_string("{}\n")
    yield made
    bucket.delete_blobs([bucket.blob(name) for name in objects(cloud, "out/")])


def passed(**parameters: str) -> list[str]:
    """Return what Google's launcher passes."""
    flags = {
        "runner": "DataflowRunner",
        "project": PROJECT,
        "region": REGION,
        "job_name": "photos",
        "temp_location": f"gs://{BUCKET}/temp",
        "staging_location": f"gs://{BUCKET}/staging",
        "template_location": f"gs://{BUCKET}/{JOB_OBJECT}",
        "labels": '{"goog-dataflow-provided-template-type": "flex"}',
        "input": f"gs://{BUCKET}/images/*.png",
        "model": f"gs://{BUCKET}/model",
        "signature": "from_bytes",
        "output": f"gs://{BUCKET}/out",
        **parameters,
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def launch(
    cloud: GoogleCloud, folder: Path, image: str = IMAGE, **parameters: str
) -> subprocess.CompletedProcess[str]:
    """Run the file as Google's launcher does; prints which heavy modules were imported."""
    return subprocess.run(
        [sys.executable, "-c", RUN, LAUNCHER, *passed(**parameters)],
        cwd=folder,
        env={**os.environ, **cloud.variables, "BEAM_PREDICT_IMAGE": image},
        capture_output=True,
        text=True,
        check=False,
    )


def described(cloud: GoogleCloud) -> tuple[Any, dict[str, Any]]:
    """Return the job that was described, as Dataflow takes it, and the flags it was given."""
    text = cloud.storage.bucket(BUCKET).blob(JOB_OBJECT).download_as_text()
    cloud.dataflow.jobs.clear()
    job = cloud.dataflow.create(PROJECT, REGION, text)
    return job, json_format.MessageToDict(Job.pb(job).environment)["sdkPipelineOptions"]["options"]


def objects(cloud: GoogleCloud, prefix: str) -> list[str]:
    return [blob.name for blob in cloud.storage.list_blobs(BUCKET, prefix=prefix)]


def test_a_job_in_batch_is_described_and_not_waited_for(cloud: GoogleCloud, folder: Path) -> None:
    requests = len(cloud.dataflow.requests)
    ended = launch(cloud, folder)

    assert (ended.returncode, ended.stdout) == (0, "\n"), ended.stderr  # neither TensorFlow nor Keras
    assert "the job is described" in ended.stderr
    job, _ = described(cloud)
    (pool,) = job.environment.worker_pools
    assert (job.name, job.type_) == ("photos", JobType.JOB_TYPE_BATCH)
    assert dict(job.labels) == {"goog-dataflow-provided-template-type": "flex"}
    assert {image.container_image for image in pool.sdk_harness_container_images} == {IMAGE}
    # Nothing was asked of Dataflow, written to the launcher's disk, or to the output.
    assert {path for _, path in cloud.dataflow.requests[requests:]} <= {"/token"}
    assert list(folder.iterdir()) == []
    assert objects(cloud, "out") == []


def test_an_endpoint_may_predict(cloud: GoogleCloud, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with digits_endpoint() as server:
        for name, value in proxied(server).items():
            monkeypatch.setenv(name, value)
        ended = launch(cloud, folder, model="", endpoint=ADDRESS, endpoint_protocol="tf_serving")
    assert (ended.returncode, ended.stdout) == (0, "\n"), ended.stderr
    assert described(cloud)[1]["endpoint"] == ADDRESS


def test_what_a_job_replaces_is_deleted_when_it_is_described(
    cloud: GoogleCloud, folder: Path, earlier: list[str]
) -> None:
    ended = launch(cloud, folder, overwrite="true")
    assert ended.returncode == 0, ended.stderr
    assert described(cloud)[0].name == "photos"
    assert objects(cloud, "out/") == earlier[-1:]


def test_a_job_that_cannot_be_described_costs_no_earlier_output(
    cloud: GoogleCloud, folder: Path, earlier: list[str]
) -> None:
    assert launch(cloud, folder, overwrite="true", **NOT_DESCRIBED).returncode == 1
    assert objects(cloud, "out/") == sorted(earlier)


def test_a_job_goes_on_beside_what_cannot_be_deleted(
    cloud: GoogleCloud,
    earlier: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(_: GcsStorage, uri: str) -> None:
        if uri.endswith(tuple(earlier)):
            raise Forbidden("no storage.objects.delete")  # type: ignore[no-untyped-call]

    for name, value in {**cloud.variables, "BEAM_PREDICT_IMAGE": IMAGE}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", False)  # Beam keeps those of other tests
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    monkeypatch.setattr(GcsStorage, "delete", refused)
    assert main(passed(overwrite="true")) == 0
    assert objects(cloud, "out/notes.txt") == earlier[-1:]
    assert "3 of the files that an earlier run has left are still there" in caplog.text
    assert "\n  gcloud storage rm gs://" in caplog.text
    assert described(cloud)[0].name == "photos"


def test_workers_install_nothing(cloud: GoogleCloud, folder: Path) -> None:
    assert launch(cloud, folder).returncode == 0
    job, _ = described(cloud)
    staged = {package.name for pool in job.environment.worker_pools for package in pool.packages}
    assert staged <= {"submission_environment_dependencies.txt"}


def test_the_image_that_was_asked_for_wins(cloud: GoogleCloud, folder: Path) -> None:
    other = IMAGE.replace("0.1.0", "other")
    assert launch(cloud, folder, sdk_container_image=other).returncode == 0
    (pool,) = described(cloud)[0].environment.worker_pools
    assert {image.container_image for image in pool.sdk_harness_container_images} == {other}


def test_a_model_may_be_in_the_image(cloud: GoogleCloud, folder: Path) -> None:
    ended = launch(cloud, folder, model=str(MODEL))  # as /opt/beam-predict/model is
    assert (ended.returncode, ended.stdout) == (0, "\n"), ended.stderr
    assert described(cloud)[1]["model"] == str(MODEL)


def test_several_inputs_come_in_one_parameter(cloud: GoogleCloud, folder: Path) -> None:
    names = sorted(objects(cloud, "images"))
    given = f"gs://{BUCKET}/{names[0]}; gs://{BUCKET}/{names[1]}"
    assert launch(cloud, folder, input=given).returncode == 0
    assert described(cloud)[1]["input"] == [f"gs://{BUCKET}/{name}" for name in names[:2]]


def test_a_streaming_job_is_one(cloud: GoogleCloud, folder: Path, pubsub: str) -> None:
    subscription = create_subscription("for-a-template", create_topic("for-a-template"))
    ended = launch(cloud, folder, input="", input_subscription=subscription, streaming="true")
    assert ended.returncode == 0, ended.stderr
    job, options = described(cloud)
    assert job.type_ == JobType.JOB_TYPE_STREAMING
    assert options["input_subscription"] == subscription


def test_all_that_is_wrong_is_in_the_log_at_once(cloud: GoogleCloud, folder: Path) -> None:
    wrong = {
        "model": f"gs://{BUCKET}/modle",
        "input": f"gs://{BUCKET}/none/*.png",
        "temp_location": "gs://typo",
    }
    ended = launch(cloud, folder, **wrong)
    assert ended.returncode == 2
    errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR ")]
    assert "there is no bucket gs://typo" in errors[0]
    assert "modle" in errors[1]
    assert "none/*.png" in errors[2]
    assert errors[-1] == "ERROR no job was started, because of what is told above"


def test_wrong_flags_are_in_the_log_at_once(cloud: GoogleCloud, folder: Path) -> None:
    ended = launch(cloud, folder, max_batch_size="0", output_format="xml", output="out")
    assert ended.returncode == 2
    for told in ("--max_batch_size must be", "--output_format must be", "--output out is on this machine"):
        assert f"ERROR {told}" in ended.stderr


def test_without_an_image_workers_would_have_nothing(cloud: GoogleCloud, folder: Path) -> None:
    ended = launch(cloud, folder, image="")
    assert ended.returncode == 2
    assert "--sdk_container_image" in ended.stderr


def test_what_nobody_expected_is_in_the_log_with_its_traceback(cloud: GoogleCloud, folder: Path) -> None:
    ended = launch(cloud, folder, **NOT_DESCRIBED)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "ERROR no job was started" in ended.stderr


def test_the_job_object_is_json_that_names_its_pipeline(cloud: GoogleCloud, folder: Path) -> None:
    assert launch(cloud, folder).returncode == 0
    text = json.loads(cloud.storage.bucket(BUCKET).blob(JOB_OBJECT).download_as_text())
    url = text["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    assert url.removeprefix(f"gs://{BUCKET}/") in objects(cloud, "staging")
