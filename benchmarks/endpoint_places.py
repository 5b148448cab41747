"""The same model in the pipeline's process, and behind `beam-predict serve` on the same machine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.commands import REPOSITORY
from benchmarks.endpoint_throughput import steps_of
from benchmarks.materials import write_list
from benchmarks.samples import Samples, interleave
from benchmarks.timing import count_lines, noted, noted_model, run, run_pipeline, take_batches
from emulators.processes import free_port, running
from transforms.predictors.base import Outcome
from transforms.predictors.remote.remote_predictor import RemotePredictor
from transforms.records import FileBytes

SIGNATURE = "from_bytes"
MEMORY, SERVER = "in the pipeline", "on a server"


@dataclass
class NotedRemote(RemotePredictor):
    """An endpoint whose batches are noted."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `RemotePredictor.predict`."""
        return noted(len(batch), lambda: super(NotedRemote, self).predict(batch))


def measure_places(
    model: Path, images: Sequence[Path], outputs: Iterator[Path], rounds: int
) -> dict[str, Samples]:
    """Return the files a second of whole runs in turn, from the start of the first batch on.

    Not from the end of the first: behind a server, others are well under way by then.
    """
    names = write_list(next(outputs), images)

    def in_memory() -> float:
        output = next(outputs)
        run_pipeline(noted_model(str(model), SIGNATURE), names, output)
        return _pace(output, len(images))

    def on_a_server() -> float:
        output = next(outputs)
        steps = steps_of(address, "kserve", names, output)
        run(replace(steps, predictor=_noted(steps.predictor)))
        return _pace(output, len(images))

    with _served(model) as address:
        paces = interleave({MEMORY: in_memory, SERVER: on_a_server}, rounds)
    return {place: Samples(found) for place, found in paces.items()}


@contextlib.contextmanager
def _served(model: Path) -> Iterator[str]:
    """Serve a model until the end of the context, and return its address."""
    port = free_port()
    command = [sys.executable, "-m", "pipeline", "serve", "--model", str(model), "--signature", SIGNATURE]
    flags = ["--model_name", "model", "--port", str(port)]
    with running([*command, *flags], port, PYTHONPATH=str(REPOSITORY)):
        yield f"http://127.0.0.1:{port}/v1/models/model"


def _noted(predictor: Any) -> NotedRemote:
    values = {field.name: getattr(predictor, field.name) for field in fields(predictor) if field.init}
    return NotedRemote(**values)


def _pace(output: Path, files: int) -> float:
    if count_lines(output) != files:
        raise RuntimeError(f"{count_lines(output)} of {files} files have a prediction")
    batches = take_batches()
    seconds = batches[-1].ended - min(batch.begun for batch in batches)
    return sum(batch.files for batch in batches) / seconds
