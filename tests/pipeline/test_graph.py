"""The graph: its steps, and that it is light to build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from options import parse
from pipeline.graph import build
from pipeline.job import make_predictor, make_steps
from tests.conftest import MODEL, ROOT

LABELS = Path(__file__).parent / "step_labels.txt"
FLAGS = ["--input", "*.png", "--model", str(MODEL), "--output", "out"]


@pytest.fixture
def steps() -> list[Any]:
    options = parse(FLAGS)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, make_steps(options, make_predictor(options)))
    return list(pipeline.to_runner_api().components.transforms.values())


@pytest.fixture
def labels(steps: list[Any]) -> list[str]:
    names = {step.unique_name for step in steps if step.unique_name}
    return sorted(name for name in names if not name.startswith("ref_"))  # the pipeline itself


def test_the_labels_of_the_steps_are_those_of_running_jobs(labels: list[str]) -> None:
    assert labels == LABELS.read_text().splitlines(), (
        "A running streaming job can be updated only by one with the same labels. If they have to change, "
        f"write the new ones into {LABELS.name}, and tell users of --transform_name_mapping."
    )


def test_it_reads_source_batch_read_predict_sink(labels: list[str]) -> None:
    outermost = {label for label in labels if "/" not in label}
    assert outermost == {
        *("Source", "BatchFiles", "ReadFiles", "Predict", "WritePredictions"),
        *("DeadLetters", "WriteDeadLetters"),
    }


def test_each_step_feeds_the_next_and_every_stage_the_dead_letters(steps: list[Any]) -> None:
    outermost = [step for step in steps if step.unique_name and "/" not in step.unique_name]
    makers = {made: step.unique_name for step in outermost for made in step.outputs.values()}
    fed_by = {
        step.unique_name: sorted(makers[taken] for taken in step.inputs.values() if taken in makers)
        for step in outermost
    }
    assert {name: makers for name, makers in fed_by.items() if makers} == {
        "BatchFiles": ["Source"],
        "ReadFiles": ["BatchFiles"],
        "Predict": ["ReadFiles"],
        "WritePredictions": ["Predict"],
        "DeadLetters": ["Predict", "ReadFiles", "Source"],
        "WriteDeadLetters": ["DeadLetters"],
    }


def test_building_it_does_not_import_tensorflow() -> None:
    program = f"""
import sys
import apache_beam as beam
from options import parse
from pipeline.graph import build
from pipeline.job import make_predictor, make_steps
options = parse({FLAGS!r})
build(beam.Pipeline(options=options), make_steps(options, make_predictor(options)))
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)
