"""What the pipeline itself costs for each name: names from a list, through a trivial model, to JSON Lines.

python benchmarks/names.py [COUNT]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.graph import Steps, build
from pipeline.local import local_runner
from transforms.batch_files import BatchFiles
from transforms.predictors.base import InputKind, Outcome, Signature, TensorSpec
from transforms.read_files import ReadFiles
from transforms.records import DeadLetter, FileBytes, Prediction
from transforms.schemas import arrow_schema
from transforms.sinks.to_files import ToFiles
from transforms.sources.from_inputs import FromInputs

LENGTH = Signature(
    "length", (TensorSpec("name", "string", (None,)),), (TensorSpec("length", "int64", (None,)),)
)


@dataclass
class NameLength:
    """A model that costs nothing: the length of the name."""

    model: str = "name-length"
    model_version: str = "1"
    input_kind: InputKind = "names"
    signature: Signature = LENGTH

    def load(self) -> None:
        """Nothing to load."""

    def warm_up(self, batch_size: int) -> None:
        """Nothing to warm up."""

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """Return the lengths of the names."""
        return [{"length": np.int64(len(item.ref.uri))} for item in batch]


def run(names: Path, output: Path) -> float:
    """Run the pipeline over a list, and return its seconds."""
    predictor = NameLength()
    signature = predictor.signature
    steps = Steps(
        source=FromInputs([f"@{names}"]),
        batch=BatchFiles(),
        read=ReadFiles(predictor.input_kind),
        predictor=predictor,
        predictions=ToFiles(f"{output}/predictions", "jsonl", arrow_schema(Prediction, signature)),
        dead_letters=ToFiles(f"{output}/dead_letters", "jsonl", arrow_schema(DeadLetter, signature)),
    )
    options = PipelineOptions([])
    pipeline = beam.Pipeline(runner=local_runner(options), options=options)
    build(pipeline, steps)
    start = time.perf_counter()
    pipeline.run().wait_until_finish()
    return time.perf_counter() - start


def main(count: int = 100_000) -> None:
    """Print the microseconds for each name."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        files.mkdir()
        paths = [files / f"{number:07}.txt" for number in range(count)]
        for path in paths:
            path.write_bytes(b"x")
        names = Path(folder, "names.txt")
        names.write_text("".join(f"{path}\n" for path in paths))
        seconds = run(names, Path(folder, "out"))
        lines = sum(
            path.read_bytes().count(b"\n") for path in Path(folder, "out").glob("predictions-*.jsonl")
        )
    print(f"{lines:,} predictions in {seconds:.1f} s: {seconds / count * 1e6:.0f} us a name")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
