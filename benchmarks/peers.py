"""Against Beam's own RunInference: speed, a storage that waits, and images that are none.

python -m benchmarks.peers
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult, RunInference

from benchmarks.commands import REPOSITORY
from benchmarks.materials import in_own_process, save_mobilenet, write_list, write_photos
from benchmarks.read_ahead import WAIT_SECONDS, slow_storage
from benchmarks.report import Section, Table, show
from benchmarks.samples import Samples, interleave
from benchmarks.timing import Pace, count_lines, new_pipeline, noted, noted_model, run_pipeline, take_pace
from transforms.batch_files import DEFAULT_BATCH_SIZE
from transforms.predictors.tensorflow_runtime import import_tensorflow

SIGNATURE = "from_bytes"
BATCH = DEFAULT_BATCH_SIZE
WAITS = {"a local disk": (0.0, 5, 8 * BATCH), "each read waits 50 ms": (WAIT_SECONDS, 3, 4 * BATCH)}
"""Seconds before each read, how often, and over how many photos."""

DIGITS = REPOSITORY / "examples" / "digits"
BAD = 8


class Handler(ModelHandler[bytes, PredictionResult, Any]):
    """What Beam's handler for TensorFlow would be, if it could load a SavedModel under Keras 3."""

    def __init__(self, model: Path, batch_size: int) -> None:
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self._model = str(model)

    def load_model(self) -> Any:
        """Load the SavedModel, once in each process."""
        return import_tensorflow().saved_model.load(self._model)

    def run_inference(
        self, batch: Sequence[bytes], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterator[PredictionResult]:
        """Predict on a batch, and note when."""
        yield from noted(len(batch), lambda: self._predict(batch, model))

    def _predict(self, batch: Sequence[bytes], model: Any) -> list[PredictionResult]:
        outputs = model.signatures[SIGNATURE](image_bytes=import_tensorflow().constant(batch))
        columns = {name: tensor.numpy() for name, tensor in outputs.items()}
        return [
            PredictionResult(item, {name: column[row] for name, column in columns.items()})
            for row, item in enumerate(batch)
        ]


def read(name: str, wait_seconds: float) -> tuple[str, bytes]:
    """Read a file as one would in a `Map`."""
    time.sleep(wait_seconds)
    with FileSystems.open(name) as file:
        return name, file.read()


def to_line(keyed: tuple[str, PredictionResult]) -> str:
    """Write a prediction as a line of JSON."""
    record = {"uri": keyed[0], "outputs": keyed[1].inference}
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def to_dead_letter(failure: Any) -> str:
    """Write what failed together, and why, as a line of JSON."""
    batch, (kind, *_) = failure
    return orjson.dumps({"uris": [name for name, _ in batch], "error": kind.__name__}).decode()


def run_inference(
    model: Path,
    names: Sequence[str],
    output: Path,
    *,
    batch_size: int = BATCH,
    wait_seconds: float = 0,
    handling: bool = False,
) -> None:
    """Run the same job with RunInference: read, predict, write JSON Lines.

    Args:
        model: A SavedModel.
        names: Of the files.
        output: The folder for the predictions.
        batch_size: The size of all batches.
        wait_seconds: What the storage waits before it gives a file.
        handling: Whether failures are kept apart, instead of stopping the pipeline.
    """
    inference: Any = RunInference(KeyedModelHandler(Handler(model, batch_size)))
    if handling:
        inference = inference.with_exception_handling()
    pipeline = new_pipeline()
    files = pipeline | beam.Create(names) | beam.Reshuffle() | beam.Map(read, wait_seconds)
    outcomes = files | inference
    predictions = outcomes[0] if handling else outcomes
    predictions | beam.Map(to_line) | beam.io.WriteToText(str(output / "predictions"), ".jsonl")
    if handling:
        failed = outcomes[1].failed_inferences | beam.Map(to_dead_letter)
        failed | "WriteFailed" >> beam.io.WriteToText(str(output / "dead_letters"), ".jsonl")
    pipeline.run().wait_until_finish()


@dataclass(frozen=True)
class Job:
    """A model, files for it, and folders for what comes out."""

    model: Path
    files: Sequence[Path]
    folder: Path
    outputs: Iterator[Path]

    @property
    def names(self) -> list[str]:
        """The names of the files."""
        return list(map(str, self.files))

    def predict_here(self) -> Path:
        """Run this project's pipeline, and return the folder of its output."""
        output = next(self.outputs)
        names = write_list(self.folder / "names.txt", self.files)
        run_pipeline(noted_model(str(self.model), SIGNATURE), names, output)
        return output

    def predict_with_run_inference(self, **arguments: Any) -> Path:
        """Run RunInference, and return the folder of its output."""
        output = next(self.outputs)
        run_inference(self.model, self.names, output, **arguments)
        return output


HERE, PEER = "this pipeline", "RunInference"


def measure_paces(job: Job, wait_seconds: float, rounds: int) -> dict[str, list[Pace]]:
    """Return the paces of both pipelines over a storage that waits."""

    def pace_of(run: Callable[[], Path]) -> Pace:
        predicted = count_lines(run())
        if predicted != len(job.files):
            raise RuntimeError(f"{predicted} of {len(job.files)} photos have a prediction")
        return take_pace()

    peer = partial(job.predict_with_run_inference, wait_seconds=wait_seconds)
    with slow_storage(wait_seconds):
        return interleave({HERE: lambda: pace_of(job.predict_here), PEER: lambda: pace_of(peer)}, rounds)


def digits_and_others(folder: Path) -> list[Path]:
    """Return the bundled images with bad ones strewn among them: the first halves of images, and texts."""
    files = sorted((DIGITS / "images").glob("*.png"))
    folder.mkdir()
    step = len(files) // BAD
    for number in range(BAD):
        good = files[number * (step + 1)]
        bad = folder / f"{number}.png"
        content = good.read_bytes()
        bad.write_bytes(content[: len(content) // 2] if number % 2 else b"not an image")
        files.insert(number * (step + 1), bad)
    return files


def measure_failures(job: Job) -> list[list[str]]:
    """Return what each pipeline makes of bad images among good ones: how many have a prediction."""
    ways: Mapping[str, Callable[[], Path]] = {
        HERE: job.predict_here,
        PEER: job.predict_with_run_inference,
        f"{PEER}.with_exception_handling()": partial(job.predict_with_run_inference, handling=True),
        "the same, in batches of one": partial(job.predict_with_run_inference, handling=True, batch_size=1),
    }
    return [[name, *outcome_of(run, len(job.files))] for name, run in ways.items()]


def outcome_of(run: Callable[[], Path], inputs: int) -> list[str]:
    """Run a pipeline, and count its predictions, the inputs without one, and its dead letters."""
    start = time.perf_counter()
    try:
        output = run()
        predicted, dead, end = count_lines(output), count_lines(output, "dead_letters"), "done"
    except Exception as error:  # RunInference hands on what the model raised
        predicted, dead, end = 0, 0, f"stopped by {type(error).__name__}"
    seconds = time.perf_counter() - start
    return [str(predicted), str(inputs - predicted), str(dead), f"{seconds:.1f}", end]


def speed_row(name: str, paces: Mapping[str, Sequence[Pace]]) -> list[str]:
    """Write the speeds of both pipelines, their ratio, and what each does between two batches."""
    speeds = {way: Samples([pace.files_per_second for pace in found]) for way, found in paces.items()}
    between = {
        way: Samples([1e3 * (pace.seconds - pace.predicting) for pace in found])
        for way, found in paces.items()
    }
    ratio = speeds[HERE].over(speeds[PEER])
    return [
        name,
        *(f"{speeds[way]:.0f}" for way in (HERE, PEER)),
        f"{ratio:.2f}",
        *(f"{between[way]:.1f}" for way in (HERE, PEER)),
    ]


def section(
    paces: Mapping[str, Mapping[str, Sequence[Pace]]], failures: Sequence[Sequence[str]], inputs: int
) -> Section:
    """Tell what the peers do."""
    return Section(
        title="Against Beam's RunInference",
        paragraphs=[
            "The same job with Beam's own transform: names, `Reshuffle`, a `Map` that reads each file, "
            f"`RunInference` in batches of {BATCH}, JSON Lines. Beam's handlers for TensorFlow cannot load a "
            "SavedModel under Keras 3, so it has one of its own, which calls the same signature.",
            "First, MobileNetV2 over photos of 50 kB, in turn; as above, the speed is that between the end "
            "of the first batch and the end of the last, and *between* what passes from the end of a batch "
            f"to the start of the next. Then, the {inputs - BAD} bundled digits with {BAD} files among them "
            "that are no images, or only the first half of one; a dead letter of RunInference is a whole "
            "batch.",
        ],
        tables=[
            Table(
                [
                    "MobileNetV2",
                    f"{HERE}, files/s",
                    f"{PEER}, files/s",
                    "ratio",
                    f"{HERE}, between, ms",
                    f"{PEER}, between, ms",
                ],
                [speed_row(name, found) for name, found in paces.items()],
            ),
            Table(
                [f"{inputs} digits", "predictions", "without one", "dead letters", "seconds", "the run"],
                failures,
            ),
        ],
    )


def main() -> int:
    """Print the section, and return the exit code."""
    logging.disable()  # Beam logs what the table tells
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "mobilenet"
        in_own_process(save_mobilenet, model)
        photos = in_own_process(write_photos, folder / "photos", max(number for *_, number in WAITS.values()))
        outputs = (folder / f"out{index}" for index in count())
        paces = {
            storage: measure_paces(Job(model, photos[:number], folder, outputs), wait_seconds, rounds)
            for storage, (wait_seconds, rounds, number) in WAITS.items()
        }
        digits = digits_and_others(folder / "bad")
        failures = measure_failures(Job(DIGITS / "model", digits, folder, outputs))
    return show(section(paces, failures, len(digits)))


if __name__ == "__main__":
    sys.exit(main())
