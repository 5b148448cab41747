"""The stand-in for Dataflow is strict: what the real service refuses, it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from emulators.dataflow import Dataflow, Refused, dataflow_service

PLACE = "/v1b3/projects/my-project/locations/us-central1/jobs"
AUTHORIZED = "Bearer t"
JOB: dict[str, Any] = {
    "name": "photos",
    "type": "JOB_TYPE_STREAMING",
    "environment": {
        "tempStoragePrefix": "storage.googleapis.com/bucket/temp",
        "sdkPipelineOptions": {"options": {"pipelineUrl": "gs://bucket/pipeline.pb"}},
        "workerPools": [{"sdkHarnessContainerImages": [{"containerImage": "gcr.io/p/i:1"}]}],
    },
}


@pytest.fixture
def service() -> Iterator[Dataflow]:
    with dataflow_service() as started:
        yield started


def ask(
    service: Dataflow, method: str, path: str, body: Any = None, authorization: str = AUTHORIZED
) -> requests.Response:
    headers = {"Authorization": authorization} if authorization else {}
    return requests.request(method, service.endpoint + path, json=body, headers=headers, timeout=10)


def test_a_job_is_kept_listed_and_found(service: Dataflow) -> None:
    created = ask(service, "POST", PLACE, JOB).json()
    assert (created["name"], service.job.id) == ("photos", created["id"])
    listed = ask(service, "GET", f"{PLACE}?filter=ACTIVE").json()
    assert [job["id"] for job in listed["jobs"]] == [created["id"]]
    assert ask(service, "GET", f"{PLACE}/{created['id']}").json()["currentState"]
    drained = {"requestedState": "JOB_STATE_DRAINED"}
    ask(service, "PUT", f"{PLACE}/{created['id']}", drained)
    assert ask(service, "GET", f"{PLACE}?filter=ACTIVE").json()["jobs"] == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"nam": "photos"}, 'no field named "nam"'),
        ({"name": "Photos"}, "The name 'Photos' is invalid"),
        ({"type": "JOB_TYPE_UNKNOWN"}, "The type is missing"),
        ({"environment": {}}, "The pipeline is missing"),
        ({"replaceJobId": "another"}, "another is no running job named photos"),
    ],
)
def test_what_is_no_job_that_can_run_is_refused(
    service: Dataflow, changed: dict[str, Any], told: str
) -> None:
    answer = ask(service, "POST", PLACE, {**JOB, **changed})
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert not service.jobs


def test_a_second_job_of_a_name_is_the_first(service: Dataflow) -> None:
    ids = [ask(service, "POST", PLACE, JOB).json()["id"] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(service.jobs) == 1


@pytest.mark.parametrize(
    ("path", "token", "code"),
    [
        (PLACE, "", 401),
        (PLACE.replace("us-central1", "us-centrall"), "Bearer t", 400),
        (f"{PLACE}/none", "Bearer t", 404),
        ("/v1b3/other", "Bearer t", 404),
    ],
)
def test_what_may_not_be_asked_is_refused(service: Dataflow, path: str, token: str, code: int) -> None:
    answer = ask(service, "GET", path, authorization=token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (code, code)


def test_it_refuses_what_it_is_told_to(service: Dataflow) -> None:
    service.refusals.append(Refused(503, "UNAVAILABLE", "later"))
    answer = ask(service, "POST", PLACE, JOB)
    assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE")
    assert ask(service, "POST", PLACE, JOB).status_code == 200
