"""Who shares the model of a job, where nobody said so: it follows from the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as runner_api

from options import parse
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.make_predictor import make_predictor
from tests.conftest import MODEL
from transforms.predictors.open_model import open_model

GPU = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
STEP_GPU = ("--predict_accelerator", GPU)
WORKER_GPU = ("--dataflow_service_options", f"worker_accelerator={GPU}")
MPS = ("--dataflow_service_options", f"worker_accelerator={GPU};use_nvidia_mps")
DATAFLOW = (
    *("--runner", "DataflowRunner", "--project", "my-project", "--region", "us-central1"),
    *("--temp_location", "gs://my-bucket/temp", "--sdk_container_image", "example.com/images/predict:1"),
    *("--input", "gs://my-bucket/*.png", "--output", "gs://my-bucket/out"),
)
LOCAL = ("--input", "*.png", "--output", "out")


@pytest.mark.parametrize(
    ("flags", "sharing"),
    [
        (DATAFLOW, "process"),
        ((*DATAFLOW, *STEP_GPU), "machine"),
        ((*DATAFLOW, *WORKER_GPU), "machine"),
        ((*DATAFLOW, "--dataflow_service_options", "enable_prime", *WORKER_GPU), "machine"),
        ((*DATAFLOW, *STEP_GPU, "--model_sharing", "process"), "process"),
        ((*DATAFLOW, *WORKER_GPU, "--model_sharing", "process"), "process"),
        ((*DATAFLOW, *MPS), "process"),
        ((*DATAFLOW, "--model_sharing", "machine"), "machine"),
        ((*LOCAL, *STEP_GPU), "process"),
        ((*LOCAL, "--model_sharing", "machine"), "machine"),
    ],
)
def test_one_process_holds_the_model_where_dataflow_has_a_gpu(flags: tuple[str, ...], sharing: str) -> None:
    options = parse([*flags, "--model", str(MODEL), "--signature", "from_bytes"])
    steps = make_steps(options, open_model(str(MODEL), "from_bytes"))
    assert steps.model_sharing == sharing


@pytest.mark.parametrize(("flags", "kind"), [((), "_OfProcess"), (STEP_GPU, "_OfMachine")])
def test_the_step_that_workers_unpickle_shares_it_so(flags: tuple[str, ...], kind: str) -> None:
    function = predicting([*DATAFLOW, "--model", str(MODEL), "--signature", "from_bytes", *flags])
    assert type(function._shared).__name__ == kind


def predicting(flags: Sequence[str]) -> Any:
    """Unpickle the function of the step that predicts."""
    options = parse(list(flags))
    steps = make_steps(options, make_predictor(options))
    pipeline = beam.Pipeline()  # with the options, Beam would look for the bucket for minutes
    build(pipeline, steps)
    described = pipeline.to_runner_api()
    payloads = {
        step.unique_name: runner_api.ParDoPayload.FromString(step.spec.payload)
        for step in described.components.transforms.values()
        if step.spec.urn == common_urns.primitives.PAR_DO.urn
    }
    (payload,) = (payload for name, payload in payloads.items() if name.startswith("Predict/Predict"))
    return pickler.loads(payload.do_fn.payload)[0]
