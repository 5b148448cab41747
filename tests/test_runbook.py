"""docs/runbook.md: its blocks are run as a new user would, with the real gcloud, against emulators."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.cloud.dataflow_v1beta3 import Job, JobState, JobType

from emulators.gcloud_storage import gcloud_storage
from emulators.operations import Operations, operations
from emulators.processes import MissingProgram
from emulators.pubsub import create_subscription, create_topic
from options.parsing import beam_flags, own_flags
from options.replay import ReplayOptions
from pipeline.monitoring.alerts import Alert, alerts
from pipeline.monitoring.documentation import notification
from pipeline.monitoring.promql import Jobs
from pipeline.monitoring.remedies import REMEDIES, SHARED
from tests.conftest import MODEL
from tests.gcloud import gcloud, offline
from tests.google_cloud import BUCKET, PROJECT, REGION, Checkout, GoogleCloud, checkout, google_cloud

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/runbook.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OURS = ("./run_dataflow.sh", ".venv/bin/beam-predict")
OF_THE_SCRIPT = {"dry_run"}
NAME = "photos-stream"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/photos"
ALERTS = alerts(Jobs.named(".*"), ".*")


def commands(*programs: str) -> list[list[str]]:
    """Return the commands of the page that start with a program, word by word."""
    text = "\n".join(code for language, code in BLOCKS if language in {"sh", "bash"}).replace("\\\n", "")
    split = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [words for words in split if words and words[0] in programs]


def section(title: str) -> str:
    """Return the blocks of a section, in order, as one script."""
    (text,) = re.findall(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


VARIABLES = BLOCKS[0][1]
FIND_JOB = next(code for _, code in BLOCKS if "JOB_ID=" in code)


@dataclass(frozen=True)
class Operator:
    """Somebody with a checkout, a `.env` and gcloud."""

    user: Checkout
    cloud: GoogleCloud
    operations: Operations
    storage: str
    pubsub: str

    @property
    def job(self) -> Job:
        """The newest job."""
        return self.cloud.dataflow.job

    def start(self, name: str = NAME) -> Job:
        """Have a streaming job run, however it came to be."""
        number = len(self.cloud.dataflow.jobs) + 1
        job = Job(
            id=f"2026-01-31_00_00_00-{number:019d}",
            name=name,
            project_id=PROJECT,
            location=REGION,
            type_=JobType.JOB_TYPE_STREAMING,
            current_state=JobState.JOB_STATE_RUNNING,
            create_time="2026-01-31T00:00:00Z",
            current_state_time="2026-01-31T00:01:00Z",
        )
        self.cloud.dataflow.jobs[job.id] = job
        return job

    def run(self, script: str, **variables: str) -> str:
        """Run what somebody pastes, and return what is printed."""
        done = self.paste(script, **variables)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout + done.stderr

    def paste(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run what somebody pastes.

        What is no command of the page is put into it here: the buckets' name, and where Dataflow is.
        """
        endpoint = f"--dataflow_endpoint={self.cloud.dataflow.endpoint}"
        script = re.sub(r"(run_dataflow\.sh (?:batch|streaming))", rf"\1 {endpoint}", script)
        command = ["-euo", "pipefail", "-c", script.replace("my-bucket", BUCKET)]
        return self.user.shell(*command, cwd=self.user.root, env={**self._environment(), **variables})

    def _environment(self) -> dict[str, str]:
        overridden = {
            "DATAFLOW": f"{self.cloud.dataflow.endpoint}/",
            "LOGGING": self.operations.address,
            "MONITORING": self.operations.address,
            "PUBSUB": f"http://{self.pubsub}/",
            "STORAGE": self.storage,
        }
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": at for name, at in overridden.items()}
        here = {"PATH": os.pathsep.join((str(self.user.bin), os.environ["PATH"]))}
        emulators = {**self.cloud.variables, "PUBSUB_EMULATOR_HOST": self.pubsub}
        return {**offline(self.user.root), **overrides, **emulators, **here}


@pytest.fixture(scope="module")
def started(pubsub: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    gcloud()
    with (
        google_cloud() as cloud,
        operations() as services,
        gcloud_storage(cloud.storage_host) as storage,
    ):
        create_subscription("photos", create_topic("photos", PROJECT))
        user = checkout(tmp_path_factory.mktemp("operator"))
        settings = {**cloud.settings, "SUBSCRIPTION": SUBSCRIPTION}
        (user.root / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
        assert user.run("batch", "--help", cwd=user.root).returncode == 0  # sets itself up
        python = user.root / ".venv/bin/python"
        python.unlink()
        python.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        yield Operator(user, cloud, services, storage, pubsub)


@pytest.fixture
def operator(started: Operator) -> Operator:
    started.cloud.dataflow.jobs.clear()
    started.operations.asked.clear()
    for kept in started.operations.kept.values():
        kept.clear()
    return started


def test_the_flags_of_its_commands_exist() -> None:
    known = {flag.removeprefix("--") for flag in (*own_flags(), *beam_flags())} | OF_THE_SCRIPT
    found = commands(*OURS)
    assert len(found) > 8
    for words in found:
        flags = {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}
        of_command = {flag.name for flag in ReplayOptions.FLAGS} if words[1] == "replay" else known
        assert flags <= of_command, words


def test_flags_in_its_text_exist() -> None:
    known = {flag.removeprefix("--") for flag in (*own_flags(), *beam_flags())} | OF_THE_SCRIPT
    known |= {flag.name for flag in ReplayOptions.FLAGS} | {"runbook"}
    text = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    flags = set(re.findall(r"`--(\w+)[ `]", text))
    assert flags <= known


def test_its_links_lead_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        assert (ROOT / "docs" / path).exists() if path else anchor in anchors, target


def test_each_block_is_run_here() -> None:
    """A section that is new needs a test."""
    tested = {"Launch", "Watch", "Drain", "Cancel", "Update", "Roll a model forward and back"}
    tested |= {"Replay dead letters", "Quotas", "Alerts"}
    tested |= {alert.section for alert in ALERTS if not set(SHARED).issuperset(REMEDIES[alert.name].commands)}
    titles = re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)
    assert {title for title in titles if section(title)} == tested


def test_launch(operator: Operator) -> None:
    said = operator.run(VARIABLES + section("Launch"))
    assert "The checks:" in said
    assert "wrong" not in said
    jobs = {job.name: job.type_ for job in operator.cloud.dataflow.jobs.values()}
    assert jobs == {"photos-2026-01-31": JobType.JOB_TYPE_BATCH, NAME: JobType.JOB_TYPE_STREAMING}


def test_an_update_repeats_all_flags_of_the_launch_and_of_the_updates_before_it() -> None:
    following = {"--model_poll_interval", "--model_version"}  # one in the place of the other
    once = {"--update", "--transform_name_mapping"}
    before: dict[str, str] = {}
    streaming = [words[2:] for words in commands(OURS[0]) if words[1] == "streaming"]
    for words in streaming:
        flags = {
            flag: value for flag, value in zip(words, [*words[1:], ""], strict=True) if flag.startswith("--")
        }
        assert ("--update" in flags) == bool(before)
        assert {**before, **flags} == flags
        before = {flag: value for flag, value in flags.items() if flag not in following | once}
    assert len(streaming) > 4


def test_the_id_of_no_job_is_told(operator: Operator) -> None:
    done = operator.paste(VARIABLES + FIND_JOB)
    assert done.returncode != 0
    assert f"no job in {REGION} has the name {NAME}" in done.stderr
    assert f"{NAME} is" not in done.stdout


def test_watch(operator: Operator) -> None:
    before, job = operator.start(), operator.start()
    before.current_state = JobState.JOB_STATE_UPDATED
    make, replace = re.findall(r".*?^done\n(?!for)", section("Watch"), re.MULTILINE | re.DOTALL)
    said = operator.run(VARIABLES + make)
    assert f"{NAME} is {job.id}" in said
    kept = operator.operations.kept
    (dashboard,), (channel,) = kept["dashboards"], kept["notificationChannels"]
    assert (dashboard.display_name, channel.type) == ("beam-predict", "email")
    assert {policy.user_labels["alert"] for policy in kept["alertPolicies"]} == {one.name for one in ALERTS}
    for policy in kept["alertPolicies"]:
        assert list(policy.notification_channels) == [channel.name]

    others = {
        "dashboards": '{"displayName": "beam-predict of others"}',
        "alertPolicies": '{"userLabels": {"app": "other"}}',
    }
    for kind, body in others.items():
        operator.operations.create(kind, f"projects/{PROJECT}", body)
    operator.run(VARIABLES + replace)
    assert [one.display_name for one in kept["dashboards"]] == ["beam-predict of others"]
    assert [dict(one.user_labels) for one in kept["alertPolicies"]] == [{"app": "other"}]
    assert kept["notificationChannels"] == [channel]


def test_drain(operator: Operator) -> None:
    job = operator.start()
    operator.run(VARIABLES + FIND_JOB + section("Drain"))
    assert job.requested_state == JobState.JOB_STATE_DRAINED


def test_cancel(operator: Operator) -> None:
    job = operator.start()
    operator.run(VARIABLES + FIND_JOB + section("Cancel"))
    assert job.requested_state == JobState.JOB_STATE_CANCELLED
    assert job.labels["force_cancel_job"] == "true"


def test_update(operator: Operator) -> None:
    first = operator.start()
    update, mapping, workers = re.findall(r"(?:^[^\n]*\\\n)*^.+\n", section("Update"), re.MULTILINE)
    operator.run(update)
    second = operator.job
    operator.run(mapping)
    third = operator.job
    operator.run(VARIABLES + FIND_JOB + workers)
    assert (second.replace_job_id, third.replace_job_id) == (first.id, second.id)
    assert dict(third.transform_name_mapping) == {"Source/DropDuplicates": "Source/DropRepetitions"}
    assert third.runtime_updatable_params.max_num_workers == 20


def test_roll_a_model_forward_and_back(operator: Operator) -> None:
    operator.start()
    bucket = operator.cloud.storage.bucket(BUCKET)
    for path in MODEL.rglob("*"):
        if path.is_file():
            bucket.blob(f"models/digits/4/{path.relative_to(MODEL)}").upload_from_filename(str(path))
    shutil.copytree(MODEL, operator.user.root / "new-model")
    operator.run(VARIABLES + section("Roll a model forward and back"), MODEL=f"gs://{BUCKET}/models/digits")
    files = {blob.name.removeprefix("models/digits/") for blob in bucket.list_blobs(prefix="models/digits/")}
    here = {str(path.relative_to(MODEL)) for path in MODEL.rglob("*") if path.is_file()}
    assert files == {f"{version}/{name}" for version in (4, 6) for name in here}
    assert operator.job.replace_job_id


def test_dead_letters_of_a_table_are_replayed(operator: Operator) -> None:
    script = section("Replay dead letters").replace("\\\n", " ")
    export, replay, launch, seek = filter(None, script.splitlines())
    check_bq(export)
    uri, bucket = f"gs://{BUCKET}/images/0011.png", operator.cloud.storage.bucket(BUCKET)
    dead = {"uri": uri, "stage": "read", "error": "StorageUnavailable", "retryable": True, "attributes": "{}"}
    bucket.blob("replay/dead-000000000000.jsonl").upload_from_string(json.dumps(dead))  # as BigQuery names it

    said = operator.run(f"{VARIABLES}{replay}\n{launch}\n{seek}", OUTPUT=f"gs://{BUCKET}/replayed")

    assert "written: 1" in said
    assert uri in bucket.blob("replay/again.jsonl").download_as_text()
    assert operator.job.name == "photos-replay"
    assert f"subscriptionId: {SUBSCRIPTION}" in said


def check_bq(command: str) -> None:
    """See that bq knows a command and its flags; there is no table here that could be exported."""
    if shutil.which("bq") is None:
        raise MissingProgram("needs bq: https://cloud.google.com/sdk/docs/install")
    words = shlex.split(command.replace("$PROJECT", PROJECT))
    nowhere = ["--api=http://127.0.0.1:1", "--bigqueryrc=/dev/null"]
    done = subprocess.run(
        [words[0], *nowhere, *words[1:]],
        env={**os.environ, **offline(Path("/nonexistent"))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Flags parsing error" not in done.stdout + done.stderr
    assert "Cannot contact server" in done.stdout + done.stderr  # it got as far as that


def pasted(alert: Alert) -> list[str]:
    """Return the commands of a notification, when Cloud Monitoring has put in what it is about."""
    content = notification(alert, None)
    for name, value in {
        "project": PROJECT,
        "metric_or_resource.label.job_name": NAME,
        "metric_or_resource.label.subscription_id": "photos",
    }.items():
        content = content.replace(f"${{{name}}}", value)
    (script,) = re.findall(r"^```\n(.*?)^```$", content, re.MULTILINE | re.DOTALL)
    assert script.endswith(section(alert.section))
    return re.findall(r"(?:^[^\n]*\\\n)*^.+\n", script, re.MULTILINE)


def test_a_command_of_alerts_is_shown_once_but_for_those_of_few() -> None:
    part = PAGE.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert section("Alerts").rstrip("\n") == "\n".join(SHARED)
    for command in SHARED:
        assert part.count(command) == 1


def test_what_notifications_say_can_be_pasted(operator: Operator) -> None:
    before, job = operator.start(), operator.start()
    before.current_state = JobState.JOB_STATE_UPDATED

    operator.run("WORKERS=5\n" + "".join(dict.fromkeys(line for alert in ALERTS for line in pasted(alert))))

    assert job.runtime_updatable_params.max_num_workers == 5
    assert len(operator.operations.asked) == 2
    assert all(job.id in asked for asked in operator.operations.asked)


def test_dead_letters_are_replayed_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    (place,) = [place for place, (language, _) in enumerate(BLOCKS) if language == "bash"]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", BLOCKS[place][1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = str(Path(sys.executable).parent)
    told = done.stdout[done.stdout.index("written:") :].replace(here, "/home/me/beam-predict/.venv/bin")
    printed = told.splitlines()
    for line in BLOCKS[place + 1][1].splitlines():
        assert line in printed
