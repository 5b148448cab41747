"""The graph: its steps, and that it is light to build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MODEL, ROOT
from tests.pipeline.running_jobs import JOBS, labels_of, pipeline_of

LABELS = Path(__file__).parent / "step_labels.txt"
FLAGS = ["--input", "*.png", "--model", str(MODEL), "--output", "out"]


@pytest.fixture
def steps() -> list[Any]:
    return list(pipeline_of(FLAGS).components.transforms.values())


@pytest.fixture
def labels() -> list[str]:
    return labels_of(pipeline_of(FLAGS))


def test_the_labels_of_the_steps_are_those_that_dashboards_know(labels: list[str]) -> None:
    assert labels == LABELS.read_text().splitlines(), f"write the new labels into {LABELS.name}"


def test_batch_and_streaming_differ_within_source_batching_and_sinks_only() -> None:
    def step(label: str) -> str:
        return label.partition("/")[0]

    batch, streaming = set(labels_of(pipeline_of(FLAGS))), set(labels_of(pipeline_of(JOBS["pubsub"])))
    assert {step(label) for label in batch} == {step(label) for label in streaming}
    different = {step(label) for label in batch ^ streaming}
    assert different == {"Source", "BatchFiles", "WritePredictions", "WriteDeadLetters"}


def test_it_reads_source_batch_read_predict_sink(labels: list[str]) -> None:
    outermost = {label for label in labels if "/" not in label}
    assert outermost == {
        *("Source", "BatchFiles", "ReadFiles", "Predict", "WritePredictions"),
        *("DeadLetters", "WriteDeadLetters", "LostDeadLetters"),
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
        "DeadLetters": ["Predict", "ReadFiles", "Source", "WritePredictions"],
        "WriteDeadLetters": ["DeadLetters"],
        "LostDeadLetters": ["WriteDeadLetters"],
    }


def test_building_it_does_not_import_tensorflow() -> None:
    program = f"""
import sys
import apache_beam as beam
from options import parse
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.make_predictor import make_predictor
options = parse({FLAGS!r})
build(beam.Pipeline(options=options), make_steps(options, make_predictor(options)))
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)
