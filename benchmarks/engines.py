"""How fast each engine computes a model, images in memory through the predictor alone.

python benchmarks/engines.py [MODEL...] [--batch_size N]... [--rounds N]

A MODEL is one of `keras.applications`, with random weights; its normalizations are fitted to random images,
without which all images would have the same outputs. Each engine computes the same batch in turns, so that
whatever else the machine does slows all of them alike; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from transforms.predictors.choose_feed import Wishes
from transforms.predictors.engines.base import TENSORFLOW, EngineWish
from transforms.predictors.engines.choose_engine import ENGINES
from transforms.predictors.engines.differences import difference, largest_absolute_difference
from transforms.predictors.engines.sliced import available_cores
from transforms.predictors.functions import Tensors
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import open_model
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef

MODELS = ("MobileNetV2", "ResNet50")
BATCH_SIZES = (32, 1)
ROUNDS = 15
SIDE = 224
SEED = 20


@dataclass
class Times:
    """What calls of one engine took, in seconds."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def measure(self, call: Callable[[], Any]) -> None:
        """Call once."""
        wall, processor = time.perf_counter(), time.process_time()
        call()
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)


def export(name: str, folder: str) -> None:
    """Write a SavedModel of one of the models of `keras.applications`."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = getattr(keras.applications, name)(weights=None, input_shape=(SIDE, SIDE, 3))
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.momentum = 0.0  # so that one batch in training mode fits them
    model(images(16), training=True)
    model.export(folder, verbose=False)


def images(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Make images of random rectangles, from -1 to 1."""
    random = np.random.default_rng(SEED)
    coarse = random.uniform(-1, 1, (count, 7, 7, 3)).astype(np.float32)
    return np.repeat(np.repeat(coarse, SIDE // 7, axis=1), SIDE // 7, axis=2)


def load(folder: str, engine: str, batch_size: int) -> LocalPredictor:
    """Make a predictor that is ready: the engine has shown that it computes what TensorFlow does."""
    predictor = open_model(
        folder, wishes=Wishes(kind="arrays"), engine=EngineWish(engine, batch_size=batch_size)
    )
    predictor.load()
    predictor.predict(files(batch_size))
    return predictor


def files(count: int) -> list[FileBytes]:
    """Make the files of a batch, which the predictor takes from memory."""
    batch = []
    for number, image in enumerate(images(count)):
        content = io.BytesIO()
        np.save(content, image)
        batch.append(FileBytes(FileRef(f"{number}.npy"), content.getvalue()))
    return batch


def outputs(predictor: LocalPredictor, batch: Sequence[FileBytes]) -> Tensors:
    """Predict, and put the outputs of the items together again."""
    outcomes: Sequence[Any] = predictor.predict(batch)
    return {name: np.stack([outcome[name] for outcome in outcomes]) for name in outcomes[0]}


def measure(
    predictors: dict[str, LocalPredictor], batch: Sequence[FileBytes], rounds: int
) -> dict[str, Times]:
    """Let each engine predict in turns."""
    times = {name: Times() for name in predictors}
    for _ in range(rounds):
        for name, predictor in predictors.items():
            times[name].measure(partial(predictor.predict, batch))
    return times


def report(model: str, folder: str, batch_size: int, rounds: int) -> None:
    """Print a line of the table for each engine."""
    predictors = {name: load(folder, name, batch_size) for name in (TENSORFLOW, *ENGINES)}
    batch = files(batch_size)
    expected = outputs(predictors[TENSORFLOW], batch)
    times = measure(predictors, batch, rounds)
    for name, taken in times.items():
        found = outputs(predictors[name], batch)
        largest = max(largest_absolute_difference(found[key], expected[key]) for key in expected)
        wall = ratio(times[TENSORFLOW].wall, taken.wall)
        processor = ratio(times[TENSORFLOW].processor, taken.processor)
        milliseconds = statistics.median(taken.wall) * 1_000
        print(
            f"| {model} | {batch_size} | {name} | {milliseconds:,.1f} | {wall:.2f} | {processor:.2f} "
            f"| {largest:.1g} | {difference(found, expected).value:.1g} |",
            flush=True,
        )


def ratio(reference: Sequence[float], taken: Sequence[float]) -> float:
    """Return how many times as fast as the reference something is."""
    return statistics.median(first / second for first, second in zip(reference, taken, strict=True))


def main(models: Sequence[str], batch_sizes: Sequence[int], rounds: int) -> None:
    """Print the table."""
    print(f"{available_cores()} cores, float32, {SIDE} x {SIDE}, {rounds} rounds\n")
    print(
        "| model | batch | engine | ms a batch (median) | speed to tensorflow | ... by processor time "
        "| largest difference | ... by the largest output |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            export(model, folder)
            for batch_size in batch_sizes:
                report(model, folder, batch_size, rounds)


if __name__ == "__main__":
    import_tensorflow()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--batch_size", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    main(given.models, given.batch_size or BATCH_SIZES, given.rounds)
