"""Cloud Storage that is away: its library tries for minutes, and a person waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from emulators.processes import free_port
from pipeline.dataflow.buckets import bucket_problems
from transforms.storage import gcs

CLOUD = PipelineOptions(project="my-project", region="us-central1").view_as(GoogleCloudOptions)


@pytest.fixture
def nobody_there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    gcs._client.cache_clear()
    yield
    gcs._client.cache_clear()


@pytest.mark.usefixtures("nobody_there")
def test_cloud_storage_that_does_not_answer_is_told_once_and_not_waited_for() -> None:
    places = {"--temp_location": "gs://my-bucket/temp", "--staging_location": "gs://my-bucket/staging"}
    assert list(bucket_problems(places, CLOUD)) == [
        "--temp_location gs://my-bucket/temp: Cloud Storage does not answer (ConnectionError); see that this "
        "machine has a way to Google Cloud, and try again"
    ]


@pytest.mark.usefixtures("nobody_there")
def test_a_place_that_is_no_bucket_does_not_hide_it() -> None:
    places = {"--temp_location": "gs://B", "--staging_location": "gs://my-bucket/staging"}
    (problem,) = bucket_problems(places, CLOUD)
    assert problem.startswith("--staging_location gs://my-bucket/staging: Cloud Storage does not answer")
