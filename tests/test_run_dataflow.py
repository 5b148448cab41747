"""run_dataflow.sh, run as a user would, against a Dataflow that keeps the jobs it gets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from google.cloud.dataflow_v1beta3 import JobType, WorkerIPAddressConfiguration
from google.protobuf import json_format

from emulators.model_server import ModelServer
from emulators.pubsub import create_subscription, create_topic
from options.env_file import read_env_file
from options.settings import SETTINGS
from tests.conftest import ROOT
from tests.digits_endpoint import ADDRESS, FLAGS, digits_endpoint, proxied
from tests.google_cloud import (
    BUCKET,
    COMMAND,
    PROJECT,
    REGION,
    Checkout,
    GoogleCloud,
    checkout,
    google_cloud,
    installed,
)

GPU = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
SECONDS_TO_ACCEPTED = 25
SECONDS_TO_REFUSED = 10
TRIES = 3


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = checkout(tmp_path_factory.mktemp("user"))
    assert made.run("batch", "--help", cwd=made.root).returncode == 0  # sets itself up
    return made


@pytest.fixture(scope="module")
def cloud() -> Iterator[GoogleCloud]:
    with google_cloud() as started:
        yield started


@pytest.fixture(scope="module")
def digits() -> Iterator[ModelServer]:
    with digits_endpoint() as running:
        yield running


@pytest.fixture
def endpoint(cloud: GoogleCloud) -> str:
    cloud.dataflow.jobs.clear()
    return f"--dataflow_endpoint={cloud.dataflow.endpoint}"


def options_of(cloud: GoogleCloud) -> dict[str, object]:
    environment = json_format.MessageToDict(type(cloud.dataflow.job).pb(cloud.dataflow.job).environment)
    options: dict[str, object] = environment["sdkPipelineOptions"]["options"]
    return options


def test_a_job_in_batch_arrives_as_the_settings_describe_it(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    settings = {
        **cloud.settings,
        "SERVICE_ACCOUNT": "predict@my-project.iam.gserviceaccount.com",
        "NETWORK": "inner",
        "SUBNETWORK": "quiet",
        "LABELS": "team=photos, stage=test",
        "MACHINE_TYPE": "n1-standard-4",
        "DISK_SIZE_GB": "50",
        "NUM_WORKERS": "2",
        "MAX_NUM_WORKERS": "20",
        "JOB_NAME": "photos",
        "PREDICT_ACCELERATOR": GPU,
    }
    words = ["batch", endpoint, "--no_wait", "--max_batch_size", "8"]
    result = user.run(*words, cwd=tmp_path, env={**cloud.variables, **settings})

    assert result.returncode == 0, result.stderr
    job, (pool,) = cloud.dataflow.job, cloud.dataflow.job.environment.worker_pools
    assert (job.name, job.type_, job.location) == ("photos", JobType.JOB_TYPE_BATCH, REGION)
    assert dict(job.labels) == {"team": "photos", "stage": "test"}
    assert job.environment.service_account_email == settings["SERVICE_ACCOUNT"]
    assert job.environment.temp_storage_prefix.startswith(f"storage.googleapis.com/{BUCKET}/temp/photos.")
    assert {"use_runner_v2", "use_unified_worker"} <= set(job.environment.experiments)
    assert not job.environment.service_options
    assert (pool.network, pool.subnetwork) == ("inner", f"regions/{REGION}/subnetworks/quiet")
    assert pool.ip_configuration == WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert (pool.machine_type, pool.disk_size_gb) == ("n1-standard-4", 50)
    assert (pool.num_workers, pool.autoscaling_settings.max_num_workers) == (2, 20)
    assert {image.container_image for image in pool.sdk_harness_container_images} == {cloud.image}
    assert not installed(package.name for package in pool.packages)  # the image has all that the workers need
    assert options_of(cloud)["max_batch_size"] == 8
    assert result.stdout == (
        f"started job photos, {job.id}\n"
        f"  https://console.cloud.google.com/dataflow/jobs/{REGION}/{job.id}?project={PROJECT}\n"
    )
    (left_open,) = result.stderr.splitlines()
    assert left_open.startswith("not checked: network: whether subnetwork quiet has Private Google Access")


def test_a_gpu_is_asked_for_where_predictions_are_made_and_nowhere_else(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    env = {**cloud.variables, **cloud.settings, "PREDICT_ACCELERATOR": GPU}
    result = user.run("batch", endpoint, "--no_wait", "--predict_min_ram=16GB", cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    pipeline = beam_runner_api_pb2.Pipeline.FromString(cloud.staged("pipeline.pb"))
    components = pipeline.components
    hinted = {
        step.unique_name
        for step in components.transforms.values()
        if components.environments[step.environment_id].resource_hints
    }
    assert "Predict/Predict" in hinted
    assert {name.partition("/")[0] for name in hinted} == {"Predict"}
    (hints,) = (dict(e.resource_hints) for e in components.environments.values() if e.resource_hints)
    assert hints == {
        "beam:resources:accelerator:v1": GPU.encode(),
        "beam:resources:min_ram_bytes:v1": b"16000000000",
    }


def test_a_streaming_job_arrives_and_is_not_waited_for(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path, pubsub: str
) -> None:
    subscription = create_subscription("photos", create_topic("photos"))
    settings = {
        **cloud.settings,
        "SUBSCRIPTION": subscription,
        "STREAMING_MODE": "at_least_once",
        "WORKER_ACCELERATOR": GPU,
        "PUBSUB_EMULATOR_HOST": pubsub,
    }
    result = user.run("streaming", endpoint, cwd=tmp_path, env={**cloud.variables, **settings})
    assert result.returncode == 0, result.stderr
    job = cloud.dataflow.job
    assert job.type_ == JobType.JOB_TYPE_STREAMING
    assert re.fullmatch(r"beam-predict-streaming-\d{8}-\d{6}-[0-9a-f]{4}", job.name)
    assert {"enable_streaming_engine", "enable_windmill_service"} <= set(job.environment.experiments)
    assert list(job.environment.service_options) == [
        "streaming_mode_at_least_once",
        f"worker_accelerator={GPU}",
    ]
    assert options_of(cloud)["input_subscription"] == subscription
    assert "input" not in options_of(cloud)
    assert result.stdout.splitlines()[-1] == "it goes on until it is drained or cancelled"


def test_without_an_image_the_package_is_staged(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    env = {**cloud.variables, **cloud.settings, "IMAGE": ""}
    result = user.run("batch", endpoint, "--no_wait", cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    (pool,) = cloud.dataflow.job.environment.worker_pools
    assert installed(package.name for package in pool.packages) == ["workflow.tar.gz"]
    assert pool.ip_configuration == WorkerIPAddressConfiguration.WORKER_IP_UNSPECIFIED
    assert cloud.staged("workflow.tar.gz")


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    in_file = {
        **cloud.variables,
        **cloud.settings,
        "JOB_NAME": "of-the-file",
        "MACHINE_TYPE": "n2-standard-4",
    }
    lines = [
        "# my settings",
        *(f"{name}='{value}'" for name, value in in_file.items()),
        "NUM_WORKERS=2 # two",
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    env = {"JOB_NAME": "of-the-environment", "MACHINE_TYPE": "n2-standard-8"}
    result = user.run("batch", endpoint, "--no_wait", "--job_name", "of-the-flag", cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    (pool,) = cloud.dataflow.job.environment.worker_pools
    assert (cloud.dataflow.job.name, pool.machine_type, pool.num_workers) == (
        "of-the-flag",
        "n2-standard-8",
        2,
    )


def test_a_job_in_batch_is_waited_for(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    env = {**cloud.variables, **cloud.settings, "OUTPUT": f"gs://{BUCKET}/waited"}
    result = user.run("batch", endpoint, cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    assert "started job beam-predict-batch-" in result.stdout
    assert "Done in" in result.stdout


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_the_command_of_a_dry_run_submits_what_was_described(  # noqa: PLR0917
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path, pubsub: str, mode: str
) -> None:
    subscription = create_subscription(f"dry-{mode}", create_topic(f"dry-{mode}"))
    env = {
        **cloud.variables,
        **cloud.settings,
        "SUBSCRIPTION": subscription,
        "PREDICT_ACCELERATOR": GPU,
        "PUBSUB_EMULATOR_HOST": pubsub,
    }
    # A GPU for the step that predicts, which the settings ask for, needs it in streaming.
    more = ["--experiments=enable_streaming_rightfitting"] if mode == "streaming" else []
    described = user.run(mode, endpoint, *more, "--dry_run", "--no_wait", cwd=tmp_path, env=env)
    assert described.returncode == 0, described.stderr + described.stdout
    assert not cloud.dataflow.jobs
    command, _, report = described.stdout.partition("The checks:")
    assert "wrong" not in report
    assert re.search(r"ok +Dataflow", report)
    assert re.search(r"not checked +service account: whether the default one has", report)

    pasted = user.shell("-c", command.partition("The command:")[2], cwd=tmp_path, env=env)

    assert pasted.returncode == 0, pasted.stderr
    job, (pool,) = cloud.dataflow.job, cloud.dataflow.job.environment.worker_pools
    assert job.type_ == (JobType.JOB_TYPE_BATCH if mode == "batch" else JobType.JOB_TYPE_STREAMING)
    assert f"--job_name={job.name} " in command
    assert options_of(cloud)["predict_accelerator"] == GPU
    assert {image.container_image for image in pool.sdk_harness_container_images} == {cloud.image}


def test_the_readme_shows_a_dry_run(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    (shown,) = re.findall(r"```text\n(The command:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    env = {**cloud.variables, **cloud.settings, "IMAGE": ""}
    printed = user.run("batch", endpoint, "--dry_run", "--max_batch_size", "64", cwd=tmp_path, env=env).stdout
    printed = printed.replace(f"  {endpoint} \\\n", "").replace(str(ROOT), "/home/me/beam-predict")
    printed = printed.replace(str(COMMAND), "/home/me/beam-predict/.venv/bin/beam-predict")
    assert [part for part in shown.split("  ...\n") if part not in printed] == []


def test_the_command_of_a_dry_run_has_the_credentials_of_the_file_and_does_not_show_them(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    lines = {**cloud.settings, **cloud.variables, "KEY": "a secret"}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
    described = user.run("batch", endpoint, "--dry_run", "--no_wait", cwd=tmp_path)
    assert described.returncode == 0, described.stderr + described.stdout
    command, _, _ = described.stdout.partition("The checks:")
    assert "a secret" not in command
    assert str(cloud.credentials) not in command

    pasted = user.shell("-c", command.partition("The command:")[2], cwd=user.root)

    assert pasted.returncode == 0, pasted.stderr
    assert f"--job_name={cloud.dataflow.job.name} " in command


def test_the_command_of_a_dry_run_lets_the_environment_win_as_the_dry_run_did(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    host, credentials = cloud.variables
    lines = {**cloud.settings, host: "http://127.0.0.1:1", credentials: str(cloud.credentials)}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
    env = {host: cloud.storage_host}
    described = user.run("batch", endpoint, "--dry_run", "--no_wait", cwd=tmp_path, env=env)
    assert described.returncode == 0, described.stderr + described.stdout
    command, _, _ = described.stdout.partition("The checks:")
    assert f"BEAM_PREDICT_ENV_FILE={tmp_path}/.env " in command

    pasted = user.shell("-c", command.partition("The command:")[2], cwd=user.root, env=env)

    assert pasted.returncode == 0, pasted.stderr
    assert cloud.dataflow.job.name


def test_a_file_that_is_named_and_not_there_is_told(user: Checkout, tmp_path: Path) -> None:
    named = {"BEAM_PREDICT_ENV_FILE": str(tmp_path / "none")}
    result = user.run("batch", cwd=tmp_path, env=named)
    assert result.returncode == 2
    assert f"BEAM_PREDICT_ENV_FILE={tmp_path}/none: there is no such file" in result.stderr


def fastest(run: Callable[[], None], seconds: float) -> float:
    """Return how long a run takes that nothing else on the machine holds up: the least of a few."""
    taken = []
    while len(taken) < TRIES and min(taken, default=seconds) >= seconds:
        start = time.monotonic()
        run()
        taken.append(time.monotonic() - start)
    return min(taken)


def test_a_job_is_accepted_in_seconds(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    def accepted() -> None:
        result = user.run(
            "batch", endpoint, "--no_wait", cwd=tmp_path, env={**cloud.variables, **cloud.settings}
        )
        assert result.returncode == 0, result.stderr

    assert fastest(accepted, SECONDS_TO_ACCEPTED) < SECONDS_TO_ACCEPTED


def test_a_job_is_refused_in_seconds(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    wrong = {"BUCKET": "no-such-bucket", "MODEL": f"gs://{BUCKET}/modle", "JOB_NAME": "Photos"}

    def refused() -> None:
        result = user.run("batch", endpoint, cwd=tmp_path, env={**cloud.variables, **cloud.settings, **wrong})
        assert result.returncode == 2
        assert result.stderr.count("\n  - ") == len(wrong), result.stderr

    assert fastest(refused, SECONDS_TO_REFUSED) < SECONDS_TO_REFUSED


def test_streaming_without_a_source_is_told_once(user: Checkout, tmp_path: Path) -> None:
    result = user.run("streaming", cwd=tmp_path, env={"GCE_METADATA_HOST": "127.0.0.1:1"})
    assert "  - --input_subscription is missing: pass --input_subscription " in result.stderr
    assert "--input is missing" not in result.stderr


def test_all_that_is_missing_is_told_at_once_with_an_example(user: Checkout, tmp_path: Path) -> None:
    result = user.run(
        "batch", "--region", "us-centrall", cwd=tmp_path, env={"GCE_METADATA_HOST": "127.0.0.1:1"}
    )
    assert result.returncode == 2
    assert "no credentials were found; run `gcloud auth application-default login`" in result.stderr
    for name in ("project", "bucket", "model", "input", "output"):
        (line,) = [line for line in result.stderr.splitlines() if line.startswith(f"  - --{name} is missing")]
        assert re.search(rf"pass --{name} \S+, or set {name.upper()}=\S+", line)
    assert "--region us-centrall is no region of Dataflow's; did you mean us-central1?" in result.stderr
    assert "Traceback" not in result.stderr


def test_streaming_wants_what_never_ends_and_batch_what_does(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    env = {**cloud.variables, **cloud.settings}
    streaming = user.run("streaming", endpoint, "--input", "gs://b/*", cwd=tmp_path, env=env)
    assert (streaming.returncode, cloud.dataflow.jobs) == (2, {})
    assert "--input ends, and a streaming job does not; add --watch SECONDS, or use batch" in streaming.stderr
    batch = user.run("batch", endpoint, "--watch", "5", cwd=tmp_path, env=env)
    assert batch.returncode == 2
    assert batch.stderr.count("\n  - ") == 1, batch.stderr
    assert "--watch never ends, and a job in batch does; use streaming" in batch.stderr


def test_what_is_wrong_with_settings_hides_nothing_else(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    env = {
        **cloud.variables,
        **cloud.settings,
        "PUBLIC_IPS": "maybe",
        "MODEL": f"gs://{BUCKET}/modle",
        "OUTPUT": "gs://no-such-bucket/out",
    }
    words = ["batch", endpoint, "--watch", "5", "--job_name", "Photos", "--no_wait=yes", "--max_batch_size"]
    told = [
        "--public_ips (or PUBLIC_IPS) must be one of yes, no; got 'maybe'",
        "--watch never ends, and a job in batch does; use streaming",
        "--no_wait takes no value; leave out 'yes'",
        "--max_batch_size has no value",
        "--job_name Photos: must be lower-case",
        f"--model gs://{BUCKET}/modle: there is no file or folder of that name",
        "there is no bucket gs://no-such-bucket",
    ]
    refused = user.run(*words, cwd=tmp_path, env=env)
    described = user.run(*words, "--dry_run", cwd=tmp_path, env=env)
    assert (refused.returncode, described.returncode, cloud.dataflow.jobs) == (2, 2, {})
    assert [part for part in told if part not in refused.stderr] == []
    command, _, report = described.stdout.partition("The checks:")
    assert [part for part in told if part not in report] == []
    assert "--job_name=Photos" in command
    assert "public_ips" not in command


def test_a_name_in_the_file_that_is_nearly_that_of_a_setting_is_noted(
    user: Checkout, cloud: GoogleCloud, endpoint: str, tmp_path: Path
) -> None:
    lines = {**cloud.settings, **cloud.variables, "PROJECT_ID": "another-use"}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
    result = user.run("batch", endpoint, "--no_wait", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("note: PROJECT_ID in .env is no setting; did you mean PROJECT?\n")
    assert cloud.dataflow.jobs


def test_what_a_misspelt_name_was_to_give_is_missing(user: Checkout, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROJCT=my-project\n")
    result = user.run("batch", cwd=tmp_path, env={"GCE_METADATA_HOST": "127.0.0.1:1"})
    assert result.returncode == 2
    assert result.stderr.startswith("note: PROJCT in .env is no setting; did you mean PROJECT?\n")
    assert "--project is missing" in result.stderr


def test_a_folder_without_settings_is_noted(user: Checkout, tmp_path: Path) -> None:
    result = user.run("batch", cwd=tmp_path, env={"GCE_METADATA_HOST": "127.0.0.1:1"})
    assert result.stderr.startswith(f"note: there is no .env in {tmp_path}; ")
    (tmp_path / ".env").write_text("REGION=us-central1\n")
    result = user.run("batch", cwd=tmp_path, env={"GCE_METADATA_HOST": "127.0.0.1:1"})
    assert "there is no .env" not in result.stderr


def test_a_file_of_settings_that_is_none_is_told(user: Checkout, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROJECT=a\nINPUT=gs://bucket/a b\n")
    result = user.run("batch", cwd=tmp_path)
    assert result.returncode == 2
    assert ".env, line 2: there is more behind the value; write INPUT='VALUE', in single" in result.stderr


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_each_mode_explains_itself(user: Checkout, tmp_path: Path, mode: str) -> None:
    result = user.run(mode, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert f"beam-predict dataflow {mode}" in result.stdout
    assert "PROJECT, --project my-project" in result.stdout


def test_the_script_explains_itself_without_a_set_up(tmp_path: Path) -> None:
    fresh = checkout(tmp_path)
    assert "--dry_run" in fresh.run("--help", cwd=tmp_path).stdout
    unknown = fresh.run("bach", cwd=tmp_path)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "bach is none of batch, streaming, template" in unknown.stderr
    assert not (fresh.root / ".venv").exists()


def test_the_example_of_settings_has_each_of_them() -> None:
    assert set(read_env_file(ROOT / ".env.example")) == {setting.variable for setting in SETTINGS}


@pytest.mark.parametrize("predicting", [(), FLAGS], ids=["a model", "an endpoint"])
def test_tensorflow_is_not_imported_by_the_launching_process(  # noqa: PLR0917
    user: Checkout,
    cloud: GoogleCloud,
    digits: ModelServer,
    endpoint: str,
    tmp_path: Path,
    predicting: Sequence[str],
) -> None:
    env = {**cloud.variables, **cloud.settings, **proxied(digits), "PYTHONPROFILEIMPORTTIME": "1"}
    result = user.run("batch", endpoint, "--no_wait", *predicting, cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stdout
    imported = re.findall(r"^import time: +\d+ \| +\d+ \| *(\S+)", result.stderr, re.MULTILINE)
    assert "apache_beam" in imported
    assert not [name for name in imported if name.partition(".")[0] in ("tensorflow", "keras")]
    assert options_of(cloud).get("endpoint") == (ADDRESS if predicting else None)
