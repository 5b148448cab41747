"""What Dataflow's workers get, in an environment that has the staged package and nothing of this checkout."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_provision_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from tests.conftest import ROOT
from tests.environments import build_wheel, clean_environment, locked_environment, run
from tests.google_cloud import BUCKET, DIGITS, GoogleCloud, checkout, google_cloud, installed

GPU = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
RIGHT_FITTING = "--experiments=enable_streaming_rightfitting"  # without effect in batch
SUBSCRIPTION = "projects/my-project/subscriptions/photos"

LOAD = """
import json, sys
from apache_beam.internal import pickler
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.pipeline_context import PipelineContext

pipeline = api.Pipeline.FromString(open(sys.argv[1], "rb").read())
functions = {}
for step in pipeline.components.transforms.values():
    if step.spec.urn == common_urns.primitives.PAR_DO.urn:
        payload = api.ParDoPayload.FromString(step.spec.payload)
        functions[step.unique_name] = type(pickler.loads(payload.do_fn.payload)[0]).__module__
context = PipelineContext(pipeline.components)
for name in pipeline.components.coders:
    context.coders.get_by_id(name)
own = [module for name, module in sys.modules.items() if name.partition(".")[0] in ("options", "transforms")]
print(json.dumps({
    "functions": functions,
    "files": [module.__file__ for module in own],
    "tensorflow": "tensorflow" in sys.modules,
}))
"""


@dataclass(frozen=True)
class Staged:
    """What lies in the bucket when a job was accepted, and a Python that has the staged package.

    Attributes:
        launcher: The Python of the launches, which has what a user's has.
        told: What the launches have written to standard error.
    """

    cloud: GoogleCloud
    batch: Path
    streaming: Path
    python: Path
    launcher: Path
    told: str


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    folder = tmp_path_factory.mktemp("staged")
    command = locked_environment(folder / "locked", ROOT / "requirements.lock")
    user, told = checkout(folder, command), ""
    with google_cloud() as cloud:
        jobs = {
            "batch": {"PREDICT_ACCELERATOR": GPU},
            "streaming": {"SUBSCRIPTION": SUBSCRIPTION, "PREDICT_ACCELERATOR": GPU},
        }
        for mode, settings in jobs.items():
            env = {**cloud.variables, **cloud.settings, **settings, "IMAGE": ""}
            flags = (f"--dataflow_endpoint={cloud.dataflow.endpoint}", "--no_wait", "--skip_preflight")
            result = user.run(mode, *flags, RIGHT_FITTING, cwd=folder, env=env)
            assert result.returncode == 0, result.stderr
            told += result.stderr
            (folder / f"{mode}.pb").write_bytes(cloud.staged("pipeline.pb"))
        sdist = folder / "workflow.tar.gz"
        sdist.write_bytes(cloud.staged("workflow.tar.gz"))
        python = clean_environment(folder / "clean", build_wheel(sdist, folder))
        launcher = command.with_name("python")
        yield Staged(cloud, folder / "batch.pb", folder / "streaming.pb", python, launcher, told)


def pipeline_of(file: Path) -> beam_runner_api_pb2.Pipeline:
    pipeline: beam_runner_api_pb2.Pipeline = beam_runner_api_pb2.Pipeline.FromString(file.read_bytes())
    return pipeline


def labels_of(pipeline: beam_runner_api_pb2.Pipeline) -> set[str]:
    return {step.unique_name for step in pipeline.components.transforms.values()}


def test_the_lock_has_all_that_a_launch_without_an_image_takes(staged: Staged, tmp_path: Path) -> None:
    find = "import importlib.util; print(importlib.util.find_spec('pytest'))"
    assert run(staged.launcher, "-c", find, cwd=tmp_path) == "None\n"
    assert "No module named" not in staged.told
    assert "Traceback" not in staged.told


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_each_function_is_unpickled_from_the_staged_package(
    staged: Staged, tmp_path: Path, mode: str
) -> None:
    file = staged.batch if mode == "batch" else staged.streaming
    found = json.loads(run(staged.python, "-c", LOAD, file, cwd=tmp_path, **staged.cloud.variables))
    clean = staged.python.parents[1]
    modules = {name: module for name, module in found["functions"].items() if name.startswith("Predict/")}
    assert "transforms.predict" in modules.values(), modules
    assert {"transforms.read_files", "transforms.sinks.to_files"} <= set(found["functions"].values())
    assert found["files"]
    assert [file for file in found["files"] if not Path(file).is_relative_to(clean)] == []
    assert not any(str(ROOT) in file for file in found["files"])
    assert found["tensorflow"] is False


def test_the_staged_steps_are_those_that_updates_rely_on(staged: Staged) -> None:
    committed = (ROOT / "tests/pipeline/step_labels.txt").read_text().splitlines()
    outermost = {label for label in committed if "/" not in label}
    for file in (staged.batch, staged.streaming):
        assert outermost <= labels_of(pipeline_of(file))


def test_only_the_step_that_predicts_has_another_environment(staged: Staged) -> None:
    for file in (staged.batch, staged.streaming):
        components = pipeline_of(file).components
        hints = {
            step.unique_name: dict(components.environments[step.environment_id].resource_hints)
            for step in components.transforms.values()
            if step.environment_id
        }
        hinted = {name for name, found in hints.items() if found}
        assert {name.partition("/")[0] for name in hinted} == {"Predict"}
        assert hints["Predict/Predict"] == {"beam:resources:accelerator:v1": GPU.encode()}


def test_each_environment_is_an_image_with_the_staged_package(staged: Staged) -> None:
    for environment in pipeline_of(staged.batch).components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn
        image = beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image
        assert re.fullmatch(r".*/beam_python3\.\d+_sdk:2\.\d+\.\d+", image)
        urls = [
            beam_runner_api_pb2.ArtifactUrlPayload.FromString(artifact.type_payload).url
            for artifact in environment.dependencies
        ]
        assert installed(url.rpartition("/")[2] for url in urls) == ["workflow.tar.gz"]


def in_processes_of(
    python: Path, pipeline: beam_runner_api_pb2.Pipeline, folder: Path
) -> beam_runner_api_pb2.Pipeline:
    """Let workers be processes of another Python, started in a folder that has nothing."""
    worker = [str(python), "-m", "apache_beam.runners.worker.sdk_worker_main"]
    unset = "env -u PYTHONPATH"
    command = f"cd {shlex.quote(str(folder))} && exec {unset} {shlex.join(worker)}"
    for environment in pipeline.components.environments.values():
        environment.urn, environment.payload = python_urns.SUBPROCESS_SDK, command.encode()
        del environment.dependencies[:]
    return pipeline


def options_of(cloud: GoogleCloud) -> Sequence[str]:
    """Return the flags that workers are told: those that are for them, and not for Dataflow."""
    return ["--project=my-project"]


def test_the_staged_pipeline_runs_in_workers_that_have_the_staged_package_only(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in staged.cloud.variables.items():
        monkeypatch.setenv(name, value)
    pipeline = in_processes_of(staged.python, pipeline_of(staged.batch), tmp_path)
    options = PipelineOptions(options_of(staged.cloud))
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = fn_runner.ExtendedProvisionInfo(
        beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    )

    result = fn_runner.FnApiRunner(provision_info=provision).run_via_runner_api(pipeline, options)

    assert result.wait_until_finish() == "DONE"
    blobs = list(staged.cloud.storage.list_blobs(BUCKET, prefix="out/predictions-"))
    rows = [json.loads(line) for blob in blobs for line in blob.download_as_text().splitlines()]
    assert len(rows) == DIGITS
    assert {row["model"] for row in rows} == {f"gs://{BUCKET}/model"}
    assert all(os.path.basename(row["uri"]).endswith(".png") for row in rows)
