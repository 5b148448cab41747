"""`beam-predict template`, with the real gcloud, against a Cloud Storage and a Dataflow on this machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.cloud.dataflow_v1beta3 import JobType

from emulators.flex_templates import FlexTemplates, flex_templates
from emulators.processes import MissingProgram
from emulators.pubsub import create_subscription, create_topic
from options.settings import SETTINGS
from pipeline.cli import main
from tests.google_cloud import BUCKET, COMMAND, PROJECT, REGION, GoogleCloud, checkout, google_cloud

ROOT = Path(__file__).parents[2]
TEMPLATE = f"gs://{BUCKET}/templates/beam-predict.json"


@dataclass(frozen=True)
class User:
    """Somebody at a terminal, in an empty folder, with gcloud."""

    cloud: GoogleCloud
    service: FlexTemplates
    folder: Path

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.shell(shlex.join([str(COMMAND), "template", *arguments]), **variables)

    def shell(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command with gcloud pointed to this machine, and no settings but the given ones."""
        token = self.folder / "token"
        token.write_text("a-token")
        gcloud = {
            "CLOUDSDK_CONFIG": str(self.folder / "gcloud"),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.cloud.storage_host}/storage/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAFLOW": self.service.address,
        }
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                **self.cloud.variables,
                **gcloud,
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def started(pubsub: str) -> Iterator[tuple[GoogleCloud, FlexTemplates]]:
    if shutil.which("gcloud") is None:
        raise MissingProgram("needs gcloud: see https://cloud.google.com/sdk/docs/install")
    with (
        google_cloud() as cloud,
        flex_templates(
            cloud.dataflow, {**os.environ, **cloud.variables, "PUBSUB_EMULATOR_HOST": pubsub}
        ) as service,
    ):
        yield cloud, service


@pytest.fixture
def user(started: tuple[GoogleCloud, FlexTemplates], tmp_path: Path) -> User:
    cloud, service = started
    cloud.dataflow.jobs.clear()
    return User(cloud, service, tmp_path)


@pytest.fixture(scope="module")
def template(started: tuple[GoogleCloud, FlexTemplates], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The template, built once for all that only run jobs from it."""
    cloud, service = started
    builder = User(cloud, service, tmp_path_factory.mktemp("builder"))
    result = builder.run("build", BUCKET=BUCKET, IMAGE=cloud.image, PROJECT=PROJECT)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def built(user: User, template: None) -> User:
    """A user whose template is built."""
    return user


Ended = tuple[int, str, str]
"""The code, and what was written to standard output and standard error."""


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs what starts no program and asks nobody in this process, in an empty folder without settings."""
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("TEMPLATE_FILE", raising=False)

    def run(*arguments: str) -> Ended:
        try:
            code = main(["template", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


def job(user: User) -> list[str]:
    """Return the flags of a job in batch."""
    given = {**user.cloud.settings, "IMAGE": ""}
    flags = {name.lower(): value for name, value in given.items() if value}
    endpoint = f"--dataflow_endpoint={user.cloud.dataflow.endpoint}"
    return [endpoint, *(f"--{name}={value}" for name, value in flags.items())]


def command_in(printed: str) -> str:
    """Return the command that a dry run has printed."""
    return printed.partition("The command:\n\n")[2].partition("\n\n")[0]


def test_a_template_is_built_with_all_parameters(built: User) -> None:
    spec = json.loads(
        built.cloud.storage.bucket(BUCKET).blob("templates/beam-predict.json").download_as_text()
    )
    written = json.loads((ROOT / "deploy" / "metadata.json").read_text())
    assert spec["image"] == built.cloud.image
    assert spec["sdkInfo"] == {"language": "PYTHON"}
    assert spec["metadata"]["parameters"] == written["parameters"]


def test_jobs_can_be_given_defaults(user: User) -> None:
    target = f"gs://{BUCKET}/templates/other.json"
    result = user.run(
        "build", f"--template_file={target}", f"--image={user.cloud.image}", "--", "--max-workers=7"
    )
    assert result.returncode == 0, result.stderr
    spec = json.loads(user.cloud.storage.bucket(BUCKET).blob("templates/other.json").download_as_text())
    assert spec["defaultEnvironment"] == {"maxWorkers": 7}


def test_a_job_in_batch_is_run_from_the_template(built: User) -> None:
    more = [
        "--input=gs://b;c/*.png",
        "--labels=team=photos,stage=test",
        "--job_name=photos",
        "--max_num_workers=3",
    ]
    more += ["--model_inputs=a=1,2", "--overwrite", "--max_file_bytes=20MB", "--skip_preflight"]
    before = len(built.service.launches)
    result = built.run("run", "batch", *job(built), *more)
    assert result.returncode == 0, result.stderr

    passed = built.service.launches[before]
    assert f"--input=gs://{BUCKET}/images/*.png;gs://b;;c/*.png" in passed
    assert "--model_inputs=a=1,2" in passed
    assert "--overwrite=true" in passed
    assert "--max_file_bytes=20000000" in passed
    assert "--use_public_ips=false" in passed
    assert not [word for word in passed if word.startswith(("--skip_preflight", "--dataflow_endpoint"))]


def test_labels_may_be_json(built: User) -> None:
    flags = job(built)
    dry = built.run("run", "batch", *flags, '--labels={"team": "photos", "stage": "test"}', "--dry_run")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "--additional-user-labels=team=photos,stage=test" in command_in(dry.stdout)
    refused = built.run("run", "batch", *flags, "--labels={bad")
    assert refused.returncode == 2
    assert "  - --labels " in refused.stderr


def test_what_is_missing_is_told_once_without_the_checks_too(user: User) -> None:
    result = user.run("run", "streaming", "--skip_preflight")
    for flag in ("--input_subscription", "--model", "--output"):
        assert result.stderr.count(f"  - {flag} is missing") == 1
    assert "--input is missing" not in result.stderr


def test_what_gcloud_cannot_be_handed_is_told(built: User) -> None:
    result = built.run("run", "batch", *job(built), "--group_by=(a,b)~|#!@%+", "--skip_preflight")
    assert result.returncode == 2
    assert "gcloud cannot be handed what has all of ~ | # ! @ % +" in result.stderr


def test_a_switch_with_a_value_hides_nothing_else(built: User) -> None:
    run = built.run("run", "batch", *job(built), "--dry_run=1", "--job_name=Photos")
    build = built.run("build", "--dry_run=1", "--imgae=i")
    assert (run.returncode, build.returncode) == (2, 2)
    for told, other in ((run.stderr, "--job_name Photos"), (build.stderr, "--imgae")):
        assert "--dry_run takes no value; leave out '1'" in told
        assert other in told


def test_the_job_arrives(built: User) -> None:
    result = built.run(
        "run", "batch", *job(built), "--signature=from_bytes", "--job_name=photos", "--labels=a=b"
    )
    assert result.returncode == 0, result.stderr + built.service.logs[-1]
    assert built.service.codes[-1] == 0, built.service.logs[-1]
    arrived = built.cloud.dataflow.job
    (pool,) = arrived.environment.worker_pools
    assert (arrived.name, arrived.type_, arrived.location) == ("photos", JobType.JOB_TYPE_BATCH, REGION)
    assert dict(arrived.labels) == {"a": "b"}
    assert {image.container_image for image in pool.sdk_harness_container_images} == {built.cloud.image}


def test_what_a_launch_has_fields_for_arrives(built: User) -> None:
    key = "projects/my-project/locations/us-central1/keyRings/r/cryptoKeys/k"
    given = ["--experiments=a_one", "--experiments=b_two", "--worker_zone=us-central1-b", "--disk_size_gb=60"]
    given += ["--flexrs_goal=COST_OPTIMIZED", f"--dataflow_kms_key={key}", "--max_num_workers=3"]
    result = built.run("run", "batch", *job(built), "--signature=from_bytes", *given)
    assert result.returncode == 0, result.stderr + built.service.logs[-1]
    arrived = built.cloud.dataflow.job.environment
    (pool,) = arrived.worker_pools
    assert {"a_one", "b_two"} <= set(arrived.experiments)
    assert (arrived.worker_zone, arrived.service_kms_key_name) == ("us-central1-b", key)
    assert (pool.disk_size_gb, pool.autoscaling_settings.max_num_workers) == (60, 3)
    assert arrived.flex_resource_scheduling_goal.name == "FLEXRS_COST_OPTIMIZED"


def test_several_options_of_dataflow_arrive_each_for_itself(built: User) -> None:
    gpu = "worker_accelerator=type:nvidia-tesla-t4;count:1;install-nvidia-driver"
    given = [f"--dataflow_service_options={option}" for option in (gpu, "min_num_workers=2")]
    more = ["--signature=from_bytes", "--machine_type=n1-standard-4"]
    result = built.run("run", "batch", *job(built), *more, *given)
    assert result.returncode == 0, result.stderr + built.service.logs[-1]
    assert f"--dataflow_service_options={gpu},min_num_workers=2" in built.service.launches[-1]
    assert list(built.cloud.dataflow.job.environment.service_options) == [gpu, "min_num_workers=2"]


def test_a_streaming_job_is_run_from_the_template(built: User, pubsub: str) -> None:
    subscription = create_subscription("of-a-template", create_topic("of-a-template"))
    settings = {**built.cloud.settings, "SUBSCRIPTION": subscription, "SIGNATURE": "from_bytes", "IMAGE": ""}
    endpoint = f"--dataflow_endpoint={built.cloud.dataflow.endpoint}"
    result = built.run("run", "streaming", endpoint, **settings, PUBSUB_EMULATOR_HOST=pubsub)
    assert result.returncode == 0, result.stderr
    assert built.cloud.dataflow.job.type_ == JobType.JOB_TYPE_STREAMING, built.service.logs[-1]


def test_what_a_dry_run_prints_can_be_pasted(built: User) -> None:
    before = len(built.service.launches)
    dry = built.run("run", "batch", *job(built), "--signature=from_bytes", "--group_by=(a,b)|c~", "--dry_run")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "  ok " in dry.stdout
    assert len(built.service.launches) == before

    pasted = built.shell(command_in(dry.stdout))
    assert pasted.returncode == 0, pasted.stderr
    assert "--group_by=(a,b)|c~" in built.service.launches[-1]
    assert built.cloud.dataflow.job.name.startswith("beam-predict-batch-")


def test_a_dry_run_of_build_prints_what_would_be_run(here: Callable[..., Ended]) -> None:
    code, printed, told = here(
        "build", "--dry_run", f"--template_file={TEMPLATE}", "--image=europe-docker.pkg.dev/p/r/i:1"
    )
    assert (code, told) == (0, "")
    assert shlex.split(command_in(printed).replace("\\\n", "")) == [
        "gcloud",
        "dataflow",
        "flex-template",
        "build",
        TEMPLATE,
        "--image=europe-docker.pkg.dev/p/r/i:1",
        "--sdk-language=PYTHON",
        f"--metadata-file={ROOT}/deploy/metadata.json",
    ]


def test_what_cannot_be_built_is_told_in_a_dry_run(user: User) -> None:
    wrong = ("--image=Not An Image", "--template_file=gs://no-such-bucket/t.json")
    dry = user.run("build", "--dry_run", *wrong, PROJECT=PROJECT, REGION=REGION)
    assert dry.returncode == 2
    assert "--image Not An Image is no name of an image; write REGISTRY/NAME:TAG" in dry.stdout
    assert (
        "--template_file gs://no-such-bucket/t.json: there is no bucket gs://no-such-bucket; `gcloud storage "
        f"buckets create gs://no-such-bucket --project={PROJECT} --location={REGION}` makes one"
    ) in dry.stdout


def test_the_template_s_image_lets_workers_do_without_public_addresses(built: User) -> None:
    dry = built.run("run", "batch", *job(built), "--signature=from_bytes", "--dry_run")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "--disable-public-ips" in command_in(dry.stdout)
    assert "not checked  network: whether subnetwork default has Private Google Access" in dry.stdout


def test_what_is_missing_for_a_build_is_told_at_once(here: Callable[..., Ended]) -> None:
    code, _, printed = here("build", "--metadata_file=none.json", "--imgae=i")
    assert code == 2
    for told in (
        "--image is missing: pass",
        "--template_file is missing: pass",
        "none.json is not there",
        "--imgae",
    ):
        assert told in printed


def test_what_is_wrong_with_a_run_is_told_at_once(built: User) -> None:
    wrong = [
        "--model=gs://no-such-bucket/m",
        "--job_name=Photos",
        "--direct_num_workers=3",
        "--max_batch_size=0",
    ]
    before = len(built.service.launches)
    result = built.run("run", "batch", *[word for word in job(built) if "model" not in word], *wrong)
    assert result.returncode == 2
    for told in (
        "--job_name Photos",
        "--direct_num_workers is no parameter of the template",
        "--max_batch_size must",
    ):
        assert told in result.stderr
    assert len(built.service.launches) == before


def test_a_model_that_only_the_image_has_is_left_to_it(built: User) -> None:
    words = [word for word in job(built) if not word.startswith("--model")]
    dry = built.run("run", "batch", *words, "--model=/no/such/model", "--dry_run")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "not checked  model: /no/such/model is not on this machine; it is looked for in the image" in (
        dry.stdout
    )
    assert "--parameters=model=/no/such/model" in command_in(dry.stdout)


def test_a_setting_that_is_wrong_hides_nothing_else_in_a_run(built: User) -> None:
    words = [*job(built), "--job_name=Photos", "--template_file", "--max_batch_size"]
    result = built.run("run", "batch", *words, PUBLIC_IPS="maybe")
    assert result.returncode == 2
    for told in (
        "PUBLIC_IPS",
        "--job_name Photos",
        "--template_file has no value",
        "--max_batch_size has no",
    ):
        assert told in result.stderr


def test_a_missing_template_is_told_with_what_makes_one(user: User) -> None:
    result = user.run("run", "batch", *job(user), f"--template_file=gs://{BUCKET}/none.json")
    assert result.returncode == 2
    assert f"--template_file gs://{BUCKET}/none.json: " in result.stderr
    assert "`./run_dataflow.sh template build` writes it" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["build", "--help"], ["run", "--help"], ["run", "batch", "--help"]]
)
def test_each_command_has_help(here: Callable[..., Ended], arguments: list[str]) -> None:
    code, printed, told = here(*arguments)
    assert (code, told) == (0, "")
    assert "template" in printed


def test_a_run_without_a_mode_is_told_what_there_is(here: Callable[..., Ended]) -> None:
    _, _, told = here("run")
    assert "  - say run batch or run streaming\n" in told


def test_a_form_that_is_wrong_is_told_without_the_checks_too(built: User) -> None:
    result = built.run("run", "batch", *job(built), "--job_name=Photos", "--skip_preflight")
    assert (result.returncode, result.stderr.count("--job_name Photos: must be")) == (2, 1)


@pytest.mark.parametrize("arguments", [["biuld"], ["run"], ["run", "bacth"]])
def test_an_unknown_word_is_told_with_what_there_is(here: Callable[..., Ended], arguments: list[str]) -> None:
    code, _, told = here(*arguments)
    assert code == 2
    assert "say " in told


def test_without_gcloud_that_is_told(user: User) -> None:
    programs = user.folder / "bin"
    programs.mkdir()
    (programs / "bash").symlink_to(shutil.which("bash") or "/bin/bash")
    arguments = ("build", f"--template_file={TEMPLATE}", "--image=i")
    result = user.run(*arguments, PATH=str(programs))
    assert result.returncode == 2
    assert "gcloud is not installed" in result.stderr


def test_the_script_hands_its_words_over(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    result = made.run("template", "run", "batch", "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "template run batch|streaming [flags]" in result.stdout
