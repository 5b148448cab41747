"""A job on Dataflow that calls an endpoint: the checks before it, and what goes to the workers."""

from __future__ import annotations

from collections.abc import Iterator

import cloudpickle
import pytest

from emulators.model_server import ModelServer
from options import parse
from options.parsing import read
from pipeline.dataflow import preflight
from pipeline.make_predictor import make_predictor
from tests.digits_endpoint import ADDRESS, FLAGS, digits_endpoint, proxied
from tests.google_cloud import GoogleCloud, google_cloud

SECRET = "a-secret-of-the-test"  # noqa: S105
HEADER = "--endpoint_auth=header:X-Api-Key=KEY_OF_THE_TEST"


@pytest.fixture(scope="module")
def started() -> Iterator[GoogleCloud]:
    with google_cloud() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with digits_endpoint() as running:
        yield running


@pytest.fixture
def cloud(started: GoogleCloud, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> GoogleCloud:
    for name, value in {**started.variables, **proxied(server)}.items():
        monkeypatch.setenv(name, value)
    return started


def flags(cloud: GoogleCloud, *others: str, without: str = "--model") -> list[str]:
    kept = [flag for flag in cloud.flags if not flag.startswith(("--model", without))]
    return [*kept, *FLAGS, *others]


def local_address(server: ModelServer) -> str:
    return f"{server.address}/v1/models/digits"


def test_the_endpoint_is_asked_before_the_start(cloud: GoogleCloud, server: ModelServer) -> None:
    before = server.requests
    report = preflight.inspect(read(flags(cloud)))
    assert report.problems == []
    assert report.predictor is not None
    assert server.requests > before


def test_a_model_that_the_endpoint_does_not_have_is_told(cloud: GoogleCloud) -> None:
    (problem,) = preflight.inspect(read(flags(cloud, f"--endpoint={ADDRESS}s"))).problems
    assert "digitss" in problem


def test_what_an_endpoint_gives_is_not_asked_where_there_is_no_file_to_ask_about(cloud: GoogleCloud) -> None:
    silent = [
        "--endpoint=http://models.invalid/predict",
        "--endpoint_protocol=multipart",
        "--input_kind=bytes",
    ]
    kept = [flag for flag in cloud.flags if not flag.startswith(("--model", "--input"))]
    (problem,) = preflight.inspect(read([*kept, *silent, "--input=gs://photos-bucket/none/*"])).problems
    assert problem.startswith("--input gs://photos-bucket/none/*: ")


def test_an_endpoint_on_this_machine_is_none_for_workers(cloud: GoogleCloud, server: ModelServer) -> None:
    address = local_address(server)
    (problem,) = preflight.inspect(read(flags(cloud, f"--endpoint={address}"))).problems
    assert problem == f"--endpoint {address} is on this machine, and Dataflow's workers are not"


def test_the_account_that_calls_is_named(cloud: GoogleCloud, server: ModelServer) -> None:
    address = local_address(server)  # since tokens are sent elsewhere over HTTPS only
    report = preflight.inspect(read(flags(cloud, f"--endpoint={address}", "--endpoint_auth=adc")))
    told = f"whether the workers' account may call {address}, as you may"
    assert f"not checked  endpoint's credentials: {told}" in str(report)


def test_no_secret_goes_to_the_workers_with_the_predictor(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_THE_TEST", SECRET)
    server.required = {"x-api-key": SECRET}
    try:
        words = [*FLAGS, f"--endpoint={local_address(server)}", HEADER, "--input=a.png", "--output=out"]
        predictor = make_predictor(parse(words))
    finally:
        server.required = {}
    pickled = cloudpickle.dumps(predictor)
    assert b"KEY_OF_THE_TEST" in pickled
    assert SECRET.encode() not in pickled


class TestAHeaderFromTheEnvironment:
    """Sent over HTTPS only; so these flags are read, and the endpoint is not asked."""

    ADDRESS = "https://models.invalid/v1/models/digits"

    def test_only_an_image_can_set_it(self, cloud: GoogleCloud) -> None:
        without_image = flags(
            cloud, HEADER, f"--endpoint={self.ADDRESS}", "--setup_file=setup.py", without="--sdk_container"
        )
        told = "Dataflow passes no variables on, so its workers lack KEY_OF_THE_TEST"
        assert any(told in problem for problem in read(without_image).contradictory)
        with_image = flags(cloud, HEADER, f"--endpoint={self.ADDRESS}")
        assert read(with_image).contradictory == []

    def test_whether_it_does_is_left_to_the_reader(
        self, cloud: GoogleCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KEY_OF_THE_TEST", raising=False)
        report = preflight.inspect(read(flags(cloud, HEADER, f"--endpoint={self.ADDRESS}")))
        told = "whether the image's start-up gives workers the variable KEY_OF_THE_TEST"
        assert f"not checked  endpoint's credentials: {told}" in str(report)
        (problem,) = report.problems  # it cannot be asked from here either
        assert "the environment variable KEY_OF_THE_TEST is not set" in problem
