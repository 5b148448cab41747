"""Running the pipeline in this process, and noting when each batch was done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.graph import Steps, build
from pipeline.local import local_runner
from transforms.batch_files import DEFAULT_BATCH_SIZE, BatchFiles
from transforms.predictors.base import Outcome, Predictor
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import open_model
from transforms.read_files import ReadFiles
from transforms.records import DeadLetter, FileBytes, Prediction
from transforms.schemas import arrow_schema
from transforms.sinks.to_all import ToAll
from transforms.sinks.to_files import ToFiles
from transforms.sources.from_inputs import FromInputs

Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """A batch that was predicted on.

    Attributes:
        files: Its size.
        begun: When, in seconds.
        ended: When, in seconds.
    """

    files: int
    begun: float
    ended: float


@dataclass(frozen=True)
class Pace:
    """How fast a run was between the end of its first batch and the end of its last.

    So its start, the loading of its model and its end do not count.

    Attributes:
        seconds: For each batch.
        predicting: Of these, in the model.
        files_per_second: Files by seconds.
    """

    seconds: float
    predicting: float
    files_per_second: float


_BATCHES: list[Batch] = []


def noted(files: int, predict: Callable[[], Result]) -> Result:
    """Predict on a batch of so many files, and note when."""
    begun = time.perf_counter()
    result = predict()
    _BATCHES.append(Batch(files, begun, time.perf_counter()))
    return result


def take_pace() -> Pace:
    """Return the pace of the batches that were noted, and forget them.

    The local runner's worker is a thread of this process, which notes where this function looks.
    """
    first, *others = take_batches()
    seconds = others[-1].ended - first.ended
    return Pace(
        seconds=seconds / len(others),
        predicting=sum(batch.ended - batch.begun for batch in others) / len(others),
        files_per_second=sum(batch.files for batch in others) / seconds,
    )


def take_batches() -> list[Batch]:
    """Return the batches that were noted, as they ended, and forget them."""
    batches = _BATCHES.copy()
    _BATCHES.clear()
    return batches


class NotedPredictor(LocalPredictor):
    """A model whose batches are noted."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `LocalPredictor.predict`."""
        return noted(len(batch), lambda: super(NotedPredictor, self).predict(batch))


def noted_model(model: str, signature: str) -> NotedPredictor:
    """Open a model whose batches are noted."""
    return NotedPredictor(**vars(open_model(model, signature)))


def run_pipeline(
    predictor: Predictor,
    names: str,
    output: Path,
    read: ReadFiles | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
) -> None:
    """Run the pipeline over an `--input`; the output is JSON Lines."""
    signature, _ = predictor.signature, predictor.model_version  # known at launch, as after a preflight
    steps = Steps(
        source=FromInputs([names]),
        batch=BatchFiles(batch_size),
        read=read or ReadFiles(predictor.input_kind),
        predictor=predictor,
        predictions=ToAll([ToFiles(f"{output}/predictions", "jsonl", arrow_schema(Prediction, signature))]),
        dead_letters=ToAll([ToFiles(f"{output}/dead_letters", "jsonl", arrow_schema(DeadLetter, signature))]),
    )
    run(steps)


def run(steps: Steps) -> None:
    """Run a pipeline on the local runner."""
    pipeline = new_pipeline()
    build(pipeline, steps)
    pipeline.run().wait_until_finish()


def new_pipeline() -> beam.Pipeline:
    """Make an empty pipeline for the local runner."""
    options = PipelineOptions([])
    return beam.Pipeline(runner=local_runner(options), options=options)


def count_lines(output: Path, kind: str = "predictions") -> int:
    """Count the records that a run wrote."""
    return sum(path.read_bytes().count(b"\n") for path in output.glob(f"{kind}-*.jsonl"))
