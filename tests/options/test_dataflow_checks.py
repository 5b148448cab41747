"""Flags of a job on Dataflow that do not go together: GPUs, machines, and credentials."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import _is_runner_v2_disabled

from options.accelerators import ACCELERATOR_EXAMPLE, MACHINE_EXAMPLE, MACHINES, Accelerator
from options.dataflow_checks import WITHOUT_RUNNER_V2
from options.launching import Launch
from options.parsing import read
from options.settings import SETTINGS

T4, L4 = (f"type:nvidia-{gpu};count:1;install-nvidia-driver" for gpu in ("tesla-t4", "l4"))
IN_STREAMING = ["--watch=5", "--output=bigquery:my-project.photos.predictions"]
STREAMING_HINTS = "--experiments=enable_streaming_rightfitting"


def problems(*flags: str) -> list[str]:
    needed = ["--input=gs://b/*", "--sdk_container_image=gcr.io/p/i:1"]
    predicting = [] if any(flag.startswith("--endpoint=") for flag in flags) else ["--model=gs://b/m"]
    output = [] if any(flag.startswith("--output=") for flag in flags) else ["--output=gs://b/out"]
    line = read(["--runner=DataflowRunner", *needed, *predicting, *output, *flags])
    assert line.unusable == []
    return line.contradictory


def of_all(accelerator: str) -> str:
    return f"--dataflow_service_options=worker_accelerator={accelerator}"


@pytest.mark.parametrize(
    "flags",
    [
        [f"--predict_accelerator={T4}"],
        [f"--predict_accelerator={T4}", "--machine_type=n1-standard-4"],
        [f"--predict_accelerator={T4}", "--worker_machine_type=custom-4-16384"],
        [f"--predict_accelerator={T4}", "--machine_type=zones/us-central1-a/machineTypes/n1-highmem-8"],
        [f"--predict_accelerator={T4};machine_type:n1-highmem-8", "--machine_type=n2-standard-4"],
        [f"--predict_accelerator={L4}"],  # Dataflow chooses the machine of a step
        [f"--predict_accelerator={L4};machine_type:g2-standard-8"],
        [
            "--predict_accelerator=type:nvidia-of-tomorrow;count:1;install-nvidia-driver",
            "--machine_type=e2-small",
        ],
        [of_all(T4)],
        [of_all(T4), "--machine_type=n1-standard-4"],
        [of_all(L4), "--machine_type=g2-standard-4"],
        [of_all("type:tpu-v5-lite-podslice;topology:1x1"), "--machine_type=ct5lp-hightpu-1t"],
        [of_all("type:nvidia-of-tomorrow;count:1;install-nvidia-driver")],
        [*IN_STREAMING, f"--predict_accelerator={T4}", STREAMING_HINTS],
        [*IN_STREAMING, of_all(T4)],
        ["--dataflow_service_options=min_num_workers=2"],
    ],
)
def test_a_gpu_on_a_machine_that_can_have_it_is_accepted(flags: list[str]) -> None:
    assert problems(*flags) == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            [f"--predict_accelerator={T4}", "--machine_type=n2-standard-4"],
            "--machine_type n2-standard-4 cannot have the nvidia-tesla-t4 of --predict_accelerator: only n1 "
            f"machines can; give the step that predicts one of its own, --predict_accelerator '{T4};"
            "machine_type:n1-standard-4', or all workers, --machine_type n1-standard-4",
        ),
        (
            [f"--predict_accelerator={L4};machine_type:n1-standard-4", "--machine_type=g2-standard-4"],
            f"--predict_accelerator {L4};machine_type:n1-standard-4: a machine n1-standard-4 cannot have "
            "this GPU, only g2 machines can; say machine_type:g2-standard-4, for example",
        ),
        (
            [of_all(T4), "--machine_type=n2-standard-4"],
            "--machine_type n2-standard-4 cannot have the nvidia-tesla-t4 of worker_accelerator: only n1 "
            "machines can; pass --machine_type n1-standard-4, for example",
        ),
        (
            [of_all(L4)],
            "--machine_type is missing for the nvidia-l4 of worker_accelerator: only g2 machines can; pass "
            "--machine_type g2-standard-4, for example",
        ),
        (
            [of_all("nvidia-tesla-t4")],
            "--dataflow_service_options worker_accelerator=nvidia-tesla-t4: what follows the = must be such "
            f"as '{ACCELERATOR_EXAMPLE}', in quotes",
        ),
        (
            [*IN_STREAMING, f"--predict_accelerator={T4}", "--predict_min_ram=16GB"],
            "--predict_accelerator and --predict_min_ram: in streaming without effect unless "
            f"{STREAMING_HINTS} is given; add it",
        ),
        (
            [*IN_STREAMING, "--predict_min_ram=16GB", STREAMING_HINTS, "--autoscaling_algorithm=NONE"],
            "--predict_min_ram: in streaming without effect with --autoscaling_algorithm NONE; leave one of "
            "them out",
        ),
    ],
)
def test_a_gpu_that_no_worker_would_have_is_told(flags: list[str], told: str) -> None:
    assert problems(*flags) == [told]


@pytest.mark.parametrize("gpu", MACHINES)
def test_each_gpu_has_an_example_that_can_have_it(gpu: str) -> None:
    machines, accelerator = MACHINES[gpu], f"type:{gpu};count:1;install-nvidia-driver"
    assert problems(of_all(accelerator), f"--machine_type={machines.example}") == []
    assert len(problems(of_all(accelerator), "--machine_type=e2-standard-4")) == 1
    others = {other.example for other in MACHINES.values()} - {machines.example}
    assert not any(map(machines.include, others))


def test_the_examples_go_together() -> None:
    examples = {setting.flag: setting.example for setting in SETTINGS}
    assert examples["machine_type"] == MACHINE_EXAMPLE
    for name in ("predict_accelerator", "worker_accelerator"):
        Accelerator().parse(examples[name])
    assert problems(of_all(ACCELERATOR_EXAMPLE), f"--machine_type={MACHINE_EXAMPLE}") == []


@pytest.mark.parametrize("name", ["PREDICT_ACCELERATOR", "WORKER_ACCELERATOR"])
def test_a_setting_that_is_no_accelerator_is_told(name: str) -> None:
    (problem,) = Launch.of("batch", [], {name: "nvidia-tesla-t4"}).problems()
    assert problem.startswith(
        f"--{name.lower()} (or {name}) must be such as '{ACCELERATOR_EXAMPLE}', in quotes"
    )


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--disk_size_gb=-5", "--disk_size_gb -5: must be at least 30"),
        ("--disk_size_gb=1", "--disk_size_gb 1: must be at least 30"),
        ("--worker_zone=europe-west1-b", "--worker_zone europe-west1-b is no zone of --region us-central1"),
        ("--worker_region=us-east1", "--worker_region us-east1 is not --region us-central1"),
        ("--labels={bad", "--labels {bad: must be NAME=VALUE, or JSON such as"),
        ("--labels=[1]", "--labels [1]: must be NAME=VALUE of lower-case"),
        ('--labels={"a":1}', "names and values must be in quotes, such as"),
        ('--labels={"Team":"A B"}', "--labels Team=A B: must be NAME=VALUE of lower-case letters"),
        ("--labels=a", "--labels a: must be NAME=VALUE of lower-case letters"),
    ],
)
def test_what_dataflow_would_refuse_is_told(flag: str, told: str) -> None:
    (problem,) = problems("--region=us-central1", flag)
    assert told in problem


@pytest.mark.parametrize(
    "flag",
    ["--disk_size_gb=0", "--worker_zone=us-central1-b", "--worker_region=us-central1", '--labels={"a":"b"}'],
)
def test_what_dataflow_takes_is_accepted(flag: str) -> None:
    assert problems("--region=us-central1", flag) == []


@pytest.mark.parametrize("experiment", WITHOUT_RUNNER_V2)
def test_an_experiment_that_beam_refuses_is_told(experiment: str) -> None:
    flag = f"--experiments={experiment}"
    assert _is_runner_v2_disabled(PipelineOptions([flag]))
    (problem,) = problems(flag)
    assert problem.startswith(f"--experiments {experiment}: Beam takes no job")


def test_a_gpu_that_would_do_nothing_is_told() -> None:
    endpoint = "--endpoint=https://h/v1/models/m"
    for flag in (f"--predict_accelerator={T4}", of_all(T4)):
        (problem,) = problems(endpoint, "--endpoint_protocol=tf_serving", flag)
        assert "accelerator: with --endpoint https://h/v1/models/m workers compute nothing" in problem


def test_a_secret_for_which_workers_have_no_variable_is_told_with_what_is_safe() -> None:
    flags = ["--endpoint=https://h/v1/models/m", "--endpoint_protocol=kserve"]
    flags += ["--endpoint_auth=header:X-Api-Key=API_KEY"]
    assert problems(*flags) == []
    (problem,) = problems(
        *flags, "--setup_file=setup.py", "--sdk_container_image=apache/beam_python3.11_sdk:2.77.0"
    )
    assert "its workers lack API_KEY" in problem
    assert "--endpoint_auth id_token or adc" in problem
    assert "start-up script gets API_KEY from Secret Manager, not one with the secret inside" in problem
