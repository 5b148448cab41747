"""`deploy/vertex_deploy.sh`, by the real gcloud, against a stand-in for Vertex AI on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.model_server import model_server
from emulators.processes import MissingProgram
from emulators.rest_apis import VertexApi
from pipeline.cli import main
from tests.conftest import IMAGES, rows
from tests.deploy.vertex_server import PROJECT, REGION, TOKEN, VertexServer, vertex_server
from tests.transforms.predictors.remote.remote_models import counting

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/vertex_deploy.sh"
MODEL = "gs://a-bucket/models/digits/1"
NEXT_MODEL = "gs://a-bucket/models/digits/2"
OWN_IMAGE = "europe-west4-docker.pkg.dev/a-project/images/server:1"
WHERE = f"--project={PROJECT} --region={REGION}"

Run = subprocess.CompletedProcess[str]
Script = Callable[..., Run]


@pytest.fixture
def vertex() -> Iterator[VertexServer]:
    with vertex_server() as server:
        yield server
        assert server.refused == []


@pytest.fixture
def environment(vertex: VertexServer, tmp_path: Path) -> dict[str, str]:
    """An environment whose gcloud knows no account, and calls nobody but the stand-in."""
    if shutil.which("gcloud") is None:
        raise MissingProgram("needs gcloud: https://cloud.google.com/sdk/docs/install")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERTEX_")}
    return inherited | {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": f"{vertex.address}/",
        "CLOUDSDK_AUTH_ACCESS_TOKEN": TOKEN,
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    }


@pytest.fixture
def deploy(environment: dict[str, str]) -> Script:
    """Deploys the digits, with flags that may repeat those of the example."""

    def run(*flags: str) -> Run:
        example = ("--project", PROJECT, "--region", REGION, "--model", MODEL, "--name", "digits")
        return run_script(*example, *flags, environment=environment)

    return run


def run_script(*flags: str, environment: dict[str, str]) -> Run:
    return subprocess.run(
        ["bash", str(SCRIPT), *flags],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_is_absent_is_created_and_a_second_start_changes_nothing(
    deploy: Script, vertex: VertexServer
) -> None:
    first = deploy()

    assert first.returncode == 0, first.stderr
    (endpoint,) = vertex.endpoints
    resource = f"projects/{PROJECT}/locations/{REGION}/endpoints/{endpoint}"
    assert first.stdout.splitlines() == [
        resource,
        f"beam-predict --input 'gs://my-bucket/photos/**.jpg' --endpoint {resource} --input_kind bytes "
        "--output out/predictions",
    ]
    (upload,), (deployment,) = vertex.uploads, vertex.deploys
    image = "europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
    assert upload["modelId"] == upload["model"]["displayName"] == "digits"
    assert upload["model"]["artifactUri"] == MODEL
    assert upload["model"]["containerSpec"] == {"imageUri": image}
    assert vertex.endpoints[endpoint]["displayName"] == "digits"
    assert deployment["trafficSplit"] == {"0": 100}

    second = deploy()

    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert vertex.changes == ["models:upload", "endpoints", f"{endpoint}:deployModel"]
    assert "Uploaded already: digits, version 1" in second.stderr
    assert "Deployed already: digits, version 1, as 8001" in second.stderr


def test_machines_replicas_and_an_account_are_as_the_flags_say(deploy: Script, vertex: VertexServer) -> None:
    account = "server@a-project.iam.gserviceaccount.com"
    done = deploy(
        *("--machine_type=n1-standard-8", "--accelerator=nvidia-tesla-t4:2", "--endpoint_name=all-models"),
        *("--min_replicas", "2", "--max_replicas", "5", "--service_account", account),
    )

    assert done.returncode == 0, done.stderr
    (upload,), (deployment,) = vertex.uploads, vertex.deploys
    assert upload["model"]["containerSpec"]["imageUri"].endswith("/tf2-gpu.2-15:latest")
    deployed = deployment["deployedModel"]
    assert deployed["serviceAccount"] == account
    resources = deployed["dedicatedResources"]
    assert (resources["minReplicaCount"], resources["maxReplicaCount"]) == (2, 5)
    assert resources["machineSpec"] == {
        "machineType": "n1-standard-8",
        "acceleratorType": "NVIDIA_TESLA_T4",
        "acceleratorCount": 2,
    }
    assert [endpoint["displayName"] for endpoint in vertex.endpoints.values()] == ["all-models"]


def test_another_image_is_the_next_version_and_shares_the_requests(
    deploy: Script, vertex: VertexServer, tmp_path: Path
) -> None:
    assert deploy().returncode == 0
    vertex.polls_to_take = 1

    done = deploy("--image", OWN_IMAGE, "--signature", "from_bytes", "--traffic", "20")

    assert done.returncode == 0, done.stderr
    upload, deployment = vertex.uploads[1], vertex.deploys[1]
    assert upload["parentModel"].endswith("/models/digits")
    assert upload["model"]["containerSpec"] == {
        "imageUri": OWN_IMAGE,
        "ports": [{"containerPort": 8080}],
        "predictRoute": "/v1/models/digits:predict",
        "healthRoute": "/v1/models/digits",
        "env": [{"name": "MODEL_NAME", "value": "digits"}, {"name": "SIGNATURE", "value": "from_bytes"}],
    }
    assert deployment["trafficSplit"] == {"0": 20, "8001": 80}
    (endpoint,) = vertex.endpoints
    assert f"gcloud ai endpoints undeploy-model {endpoint} --deployed-model-id=8001 {WHERE}" in done.stderr
    see_that_it_predicts(done.stdout, tmp_path)


def see_that_it_predicts(printed: str, folder: Path) -> None:
    """Run the command that a deployment has printed, against a server that answers as the endpoint would."""
    resource, command = printed.splitlines()
    program, *flags = shlex.split(command)
    assert program == "beam-predict"
    assert flags[flags.index("--signature") + 1] == "from_bytes"
    with model_server(VertexApi(resource, counting())) as server:
        own = {
            "gs://my-bucket/photos/**.jpg": str(IMAGES[0]),
            resource: f"{server.address}/v1/{resource}",
            "out/predictions": str(folder / "out"),
        }
        auth = ("--endpoint_auth", "none")
        assert main([*(own.get(flag, flag) for flag in flags), *auth]) == 0
    assert len(rows(folder / "out", "predictions")) == 1


@pytest.mark.parametrize(
    ("traffic", "shares", "split"),
    [
        ("10", (70, 30), "0=10,7002=27,7001=63"),
        ("34", (50, 50), "0=34,7002=33,7001=33"),
        ("0", (99, 1), "7002=1,7001=99"),
        ("50", (0, 0), "0=100"),
    ],
)
def test_the_rest_of_the_requests_stays_in_the_shares_that_there_were(
    deploy: Script, vertex: VertexServer, traffic: str, shares: tuple[int, int], split: str
) -> None:
    vertex.add_endpoint("digits", (("7001", "other", shares[0]), ("7002", "another", shares[1])))

    done = deploy("--traffic", traffic, "--dry_run")

    assert done.returncode == 0, done.stderr
    assert f" --traffic-split={split} " in done.stdout


def test_a_dry_run_prints_the_commands_that_would_do_it(
    deploy: Script, vertex: VertexServer, environment: dict[str, str]
) -> None:
    endpoint = vertex.add_endpoint("digits", (("7001", "other", 100),))

    told = deploy("--dry_run", "--traffic=50")

    assert told.returncode == 0, told.stderr
    assert vertex.changes == []
    commands = [shlex.split(line) for line in told.stdout.splitlines()]
    assert [command[2:4] for command in commands] == [["models", "upload"], ["endpoints", "deploy-model"]]
    subprocess.run(["bash", "-euc", told.stdout], env=environment, check=True, capture_output=True)
    assert vertex.changes == ["models:upload", f"{endpoint}:deployModel"]
    assert vertex.endpoints[endpoint]["trafficSplit"] == {"7001": 50, "8001": 50}
    assert deploy("--traffic=50").returncode == 0
    assert len(vertex.changes) == 2


def test_a_dry_run_without_an_endpoint_says_where_its_id_goes(deploy: Script, vertex: VertexServer) -> None:
    told = deploy("--dry_run")

    assert told.returncode == 0, told.stderr
    assert f"gcloud ai endpoints create --display-name=digits {WHERE} --quiet" in told.stdout.splitlines()
    assert "gcloud ai endpoints deploy-model ENDPOINT_ID " in told.stdout
    assert vertex.changes == []


def test_a_start_that_broke_off_is_taken_up_by_the_next(deploy: Script, vertex: VertexServer) -> None:
    vertex.refusals["endpoints"] = "Permission 'aiplatform.endpoints.create' denied"
    broken = deploy()
    assert broken.returncode != 0
    assert broken.stdout == ""
    assert vertex.refusals.pop("endpoints") in broken.stderr

    done = deploy()

    assert done.returncode == 0, done.stderr
    assert len(vertex.uploads) == len(vertex.deploys) == 1


def test_two_endpoints_of_one_name_are_not_guessed_between(deploy: Script, vertex: VertexServer) -> None:
    vertex.add_endpoint("digits")
    vertex.add_endpoint("digits")

    done = deploy("--dry_run")

    assert done.returncode == 1
    assert f"Two endpoints of {REGION} are called 'digits', 1000 and 1001" in done.stderr


def test_all_that_is_wrong_is_told_at_once_with_an_example(tmp_path: Path) -> None:
    flags = (
        "--model",
        "model",
        "--name=Digits",
        "--traffic",
        "101",
        "--zone",
        "a",
        "--max_replicas=0",
        "extra",
    )

    done = run_script(*flags, "--accelerator=T4 1", "--region", environment={"PATH": os.environ["PATH"]})

    assert (done.returncode, done.stdout) == (2, "")
    for told in (
        "--zone is no flag",
        "'extra' is no flag",
        "--region needs a value",
        "--project is missing",
        "--region is missing",
        "--model must be a folder on gs://",
        "--name must begin with a lower-case letter",
        "--traffic must be a whole number from 0 to 100; got '101'",
        "--max_replicas must be a whole number from 1 to 1000; got '0'",
        "--accelerator must be a type",
        "deploy/vertex_deploy.sh --project my-project --region europe-west4",
    ):
        assert told in done.stderr


def test_a_signature_needs_an_image_that_knows_it(environment: dict[str, str]) -> None:
    done = run_script("--signature=from_bytes", environment=environment)
    assert "--signature needs --image" in done.stderr


def test_the_environment_may_say_it_instead_of_flags(
    environment: dict[str, str], vertex: VertexServer
) -> None:
    told = {
        "VERTEX_PROJECT": PROJECT,
        "VERTEX_REGION": REGION,
        "VERTEX_MODEL": f"{NEXT_MODEL}/",
        "VERTEX_NAME": "digits",
    }

    done = run_script("--dry_run", environment=environment | told)

    assert done.returncode == 0, done.stderr
    assert f" --artifact-uri={NEXT_MODEL} " in done.stdout


def test_help_names_every_flag(tmp_path: Path) -> None:
    done = run_script("--help", environment={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stderr) == (0, "")
    (flags,) = [line for line in SCRIPT.read_text().split("readonly ") if line.startswith("FLAGS=")]
    for flag in shlex.split(flags)[0].removeprefix("FLAGS=").split():
        assert f"  --{flag} " in done.stdout


def test_a_machine_without_gcloud_is_told_where_it_is_to_be_had(tmp_path: Path) -> None:
    for tool in ("bash", "tr", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or pytest.fail(f"this test needs {tool}"))
    flags = ("--project=p", f"--region={REGION}", f"--model={MODEL}", "--name=digits")
    done = run_script(*flags, environment={"PATH": str(tmp_path)})
    assert done.returncode == 69
    assert "https://cloud.google.com/sdk/docs/install" in done.stderr
