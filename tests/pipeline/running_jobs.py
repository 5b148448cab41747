"""What a new version must have in common with a running streaming job, or the job cannot be updated.

    python -m tests.pipeline.running_jobs

writes it anew, for versions that are meant to differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as runner_api
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.transforms.core import Windowing

from options import parse
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.make_predictor import make_predictor
from tests.conftest import MODEL

FOLDER = Path(__file__).parent / "running_jobs"
REMEDY = """
A running streaming job is updated only by one that has the same steps, and can read what it has kept. So:
- keep the labels, states, timers and coders as they are, and let coders read what they wrote before; or
- for a step that has another label now, tell users of the new version what to pass in the first update:
  --transform_name_mapping='{"Old/Label": "New/Label"}'   (docs/runbook.md, "Update"); or
- for all else, tell them to drain the running job and to start the new one afresh (docs/runbook.md, "Drain").
Then write what holds from now on: python -m tests.pipeline.running_jobs
"""

_OUTPUTS = (
    *("--output", "out", "--output", "bigquery:my-project.digits.predictions"),
    *("--output", "pubsub:projects/my-project/topics/predictions"),
)
_PUBSUB = ("--input_subscription", "projects/my-project/subscriptions/photos", "--model", str(MODEL))
JOBS: Mapping[str, Sequence[str]] = {
    "pubsub": (*_PUBSUB, *_OUTPUTS),
    "pubsub_topic": (
        *("--input_topic", "projects/my-project/topics/photos", "--dedupe_window", "0"),
        *("--model", str(MODEL), *_OUTPUTS),
    ),
    "watch": ("--input", "gs://my-bucket/*.png", "--watch", "60", "--model", str(MODEL), *_OUTPUTS),
    "loads": (*_PUBSUB, *_OUTPUTS, "--bigquery_method", "FILE_LOADS", "--temp_location", "gs://my-bucket/t"),
}
"""The kinds of jobs, by the flags that make one."""


def pipeline_of(flags: Sequence[str]) -> runner_api.Pipeline:
    """Build the pipeline that flags ask for, and return its description."""
    options = parse(list(flags))
    pipeline = beam.Pipeline(options=options)
    build(pipeline, make_steps(options, make_predictor(options)))
    return pipeline.to_runner_api()


def labels_of(pipeline: runner_api.Pipeline) -> list[str]:
    """Return the labels of all steps."""
    names = {step.unique_name for step in pipeline.components.transforms.values() if step.unique_name}
    return sorted(name for name in names if not name.startswith("ref_"))  # the pipeline itself


def kept_by(pipeline: runner_api.Pipeline) -> dict[str, Any]:
    """Return what steps keep beyond a bundle, by their labels: states, timers, what they group."""
    context = PipelineContext(pipeline.components)
    found = {}
    for step in pipeline.components.transforms.values():
        if step.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn:
            found[step.unique_name] = {"groups": _input(step, pipeline, context)}
        elif step.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = runner_api.ParDoPayload.FromString(step.spec.payload)
            kept = _kept_by_function(payload, context)
            if kept:
                found[step.unique_name] = {"of": _input(step, pipeline, context), **kept}
    return found


def description_of(flags: Sequence[str]) -> dict[str, Any]:
    """Return all that an update compares."""
    pipeline = pipeline_of(flags)
    return {"kept": kept_by(pipeline), "labels": labels_of(pipeline)}


def committed(job: str) -> dict[str, Any]:
    """Return what was written of a kind of jobs."""
    found: dict[str, Any] = json.loads((FOLDER / f"{job}.json").read_text())
    return found


def _kept_by_function(payload: Any, context: PipelineContext) -> dict[str, Any]:
    kept: dict[str, Any] = {
        "states": {name: _state(spec, context) for name, spec in payload.state_specs.items()},
        "timers": {name: _timer(spec) for name, spec in payload.timer_family_specs.items()},
    }
    if payload.restriction_coder_id:  # how far a source is
        kept["restriction"] = _coder(context.coders[payload.restriction_coder_id])
    return {name: value for name, value in kept.items() if value}


def _input(step: Any, pipeline: runner_api.Pipeline, context: PipelineContext) -> dict[str, str]:
    (taken,) = step.inputs.values()
    collection = pipeline.components.pcollections[taken]
    return {
        "coder": _coder(context.coders[collection.coder_id]),
        "windowing": _windowing(context.windowing_strategies[collection.windowing_strategy_id]),
    }


def _coder(coder: Coder) -> str:
    parts = ", ".join(_coder(part) for part in coder._get_component_coders())
    kind = type(coder)
    name = (
        kind.__name__
        if kind.__module__ == "apache_beam.coders.coders"
        else f"{kind.__module__}.{kind.__name__}"
    )
    return f"{name}[{parts}]" if parts else name


def _windowing(windowing: Windowing) -> str:
    mode = {1: "discarding", 2: "accumulating"}[windowing.accumulation_mode]
    late = f", allowed lateness {windowing.allowed_lateness}" if windowing.allowed_lateness.micros else ""
    return f"{type(windowing.windowfn).__name__}, {windowing.triggerfn}, {mode}{late}"


def _state(spec: Any, context: PipelineContext) -> str:
    kind = spec.WhichOneof("spec")
    told = getattr(spec, kind)
    names = [field.name for field in told.DESCRIPTOR.fields if field.name.endswith("coder_id")]
    coders = ", ".join(_coder(context.coders[getattr(told, name)]) for name in names)
    return f"{kind.removesuffix('_spec')} of {coders}"


def _timer(spec: Any) -> str:
    return str(runner_api.TimeDomain.Enum.Name(spec.time_domain))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, flags in JOBS.items():
        written = json.dumps(description_of(flags), indent=2, sort_keys=True)
        (FOLDER / f"{name}.json").write_text(f"{written}\n")
