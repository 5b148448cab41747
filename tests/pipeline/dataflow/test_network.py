"""Whether workers reach what they need, as far as flags tell."""

from __future__ import annotations

import pytest

from options.parsing import read
from pipeline.dataflow.checklist import NotChecked
from pipeline.dataflow.network import is_outside, network_problems

NEEDED = (
    "--runner=DataflowRunner",
    "--project=my-project",
    "--region=us-central1",
    "--input=gs://b/*",
    "--output=gs://b/out",
    "--temp_location=gs://b/temp",
)
MODEL, PRIVATE = "--model=gs://b/model", "--no_use_public_ips"
IMAGE = "--sdk_container_image=us-central1-docker.pkg.dev/my-project/images/beam-predict:1"
ENDPOINT = ("--endpoint_protocol=tf_serving", "--signature=from_bytes")


def left_open(*flags: str) -> str:
    """Return what the check leaves to the reader; nothing where all is right."""
    try:
        assert network_problems(read([*NEEDED, *flags]).options) == []
    except NotChecked as reason:
        return str(reason)
    return ""


def test_workers_with_public_addresses_reach_all() -> None:
    assert left_open(MODEL, "--setup_file=setup.py") == ""
    assert left_open(MODEL, "--sdk_container_image=docker.io/me/image:1", "--use_public_ips") == ""


def test_packages_need_a_way_out() -> None:
    told = left_open(MODEL, PRIVATE, "--setup_file=setup.py")
    assert told.startswith("the package index, which --setup_file installs from, is outside Google, which ")
    assert "through Cloud NAT; set one up (`gcloud compute routers nats create NAT --router=ROUTER" in told
    assert "--region=us-central1" in told
    assert told.endswith("or set PUBLIC_IPS=yes (--use_public_ips)")


def test_an_image_elsewhere_needs_a_way_out() -> None:
    told = left_open(MODEL, PRIVATE, "--sdk_container_image=quay.io/me/image:1")
    assert told.startswith("--sdk_container_image quay.io/me/image:1 is outside Google")


def test_an_endpoint_elsewhere_needs_a_way_out() -> None:
    address = "https://models.example.com/v1/models/digits"
    told = left_open(IMAGE, PRIVATE, f"--endpoint={address}", *ENDPOINT)
    assert told.startswith(f"--endpoint {address} is outside Google")


def test_all_that_is_outside_is_told() -> None:
    told = left_open(PRIVATE, "--endpoint=https://8.8.8.8/v1/models/m", *ENDPOINT, "--setup_file=setup.py")
    assert told.startswith(
        "the package index, which --setup_file installs from, and --endpoint https://8.8.8.8/v1/models/m are "
        "outside Google"
    )


@pytest.mark.parametrize(
    ("flags", "subnetwork", "project"),
    [
        ((), "default", "my-project"),
        (("--network=inner",), "inner", "my-project"),
        (("--subnetwork=regions/us-central1/subnetworks/quiet",), "quiet", "my-project"),
        (
            (
                "--subnetwork=https://www.googleapis.com/compute/v1/projects/shared/regions/us-central1/"
                "subnetworks/quiet",
            ),
            "quiet",
            "shared",
        ),
    ],
)
def test_without_a_way_out_the_subnetwork_needs_private_google_access(
    flags: tuple[str, ...], subnetwork: str, project: str
) -> None:
    assert left_open(MODEL, IMAGE, PRIVATE, *flags) == (
        f"whether subnetwork {subnetwork} has Private Google Access; `gcloud compute networks subnets "
        f"describe {subnetwork} --project={project} --region=us-central1 "
        "--format='value(privateIpGoogleAccess)'` tells"
    )


def test_what_vertex_ai_serves_is_googles() -> None:
    resource = "projects/my-project/locations/us-central1/endpoints/123"
    assert "Private Google Access" in left_open(IMAGE, PRIVATE, f"--endpoint={resource}")


@pytest.mark.parametrize(
    "host",
    [
        "us-central1-aiplatform.googleapis.com",
        "us-central1-docker.pkg.dev",
        "gcr.io",
        "eu.gcr.io",
        "digits-abc-uc.a.run.app",
        "123.us-central1-456.prediction.vertexai.goog",
        "10.1.2.3",
        "192.168.0.7",
        "127.0.0.1",
        "fd00::1",
        "serving",
        "localhost",
        "serving.us-central1-a.c.my-project.internal",
        "digits.default.svc.cluster.local",
        "",
    ],
)
def test_what_workers_reach_without_a_way_out(host: str) -> None:
    assert not is_outside(host)


@pytest.mark.parametrize(
    "host", ["example.com", "registry-1.docker.io", "34.1.2.3", "fakegcr.io", "run.app.example.com"]
)
def test_what_they_do_not_reach(host: str) -> None:
    assert is_outside(host)
