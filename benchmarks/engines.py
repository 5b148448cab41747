"""How fast each engine computes a model: arrays in memory, through the predictor alone.

python -m benchmarks.engines [MODEL...] [--batch_size N]... [--rounds N]

A MODEL is one of `keras.applications`, with random weights; its normalizations are fitted to the images,
without which all images would have the same outputs.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.materials import SEED, SIDE, in_own_process
from benchmarks.report import Bound, Section, Table, show
from benchmarks.samples import Samples, interleave
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.engines import ENGINES, TENSORFLOW, EngineWish
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
FITTED_ON = 16
TILES = 7

LEAST_SPEEDUPS = {("MobileNetV2", 32): (tuple(ENGINES), 2.0), ("ResNet50", 32): (("openvino",), 1.4)}
"""How many times as fast as TensorFlow the best of some engines must be."""

LARGEST_DIFFERENCE = 1e-5

HEADER = (
    *("model", "batch", "engine", "ms a batch"),
    *("speed to TensorFlow's", "by processor time", "largest difference", "by the largest output"),
)


@dataclass(frozen=True)
class Seconds:
    """What a batch took: on the clock, and of all processors together."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Found:
    """What was found out about one engine with one model and batch size.

    Attributes:
        model: Its name.
        batch_size: In images.
        engine: Its name.
        milliseconds: Of a batch.
        speed: TensorFlow's time by the engine's, round by round.
        processor_speed: The same of the processors' time.
        difference: The largest from an output of TensorFlow's.
        relative_difference: The same by the largest output.
    """

    model: str
    batch_size: int
    engine: str
    milliseconds: Samples
    speed: Samples
    processor_speed: Samples
    difference: float
    relative_difference: float

    @property
    def row(self) -> list[str]:
        """The row of the table."""
        return [
            *(self.model, str(self.batch_size), self.engine, f"{self.milliseconds:.0f}"),
            *(f"{self.speed:.2f}", f"{self.processor_speed.median:.2f}"),
            *(f"{self.difference:.1g}", f"{self.relative_difference:.1g}"),
        ]


def save_model(name: str, folder: Path) -> None:
    """Save one of the models of `keras.applications`."""
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(SEED)
    model = getattr(keras.applications, name)(weights=None, input_shape=(SIDE, SIDE, 3))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # so that one batch in training mode fits it
    model(images(FITTED_ON), training=True)
    model.export(str(folder), verbose=False)


def images(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Make images of colored tiles, from -1 to 1."""
    tiles = np.random.default_rng(SEED).uniform(-1, 1, (count, TILES, TILES, 3)).astype(np.float32)
    return tiles.repeat(SIDE // TILES, axis=1).repeat(SIDE // TILES, axis=2)


def files(count: int) -> list[FileBytes]:
    """Make a batch of files, whose bytes lie in memory."""
    batch = []
    for number, image in enumerate(images(count)):
        content = io.BytesIO()
        np.save(content, image)
        batch.append(FileBytes(FileRef(f"{number}.npy"), content.getvalue()))
    return batch


def load(folder: Path, engine: str, batch: Sequence[FileBytes]) -> LocalPredictor:
    """Make a predictor whose engine has shown that it computes what TensorFlow does."""
    wish = EngineWish(engine, batch_size=len(batch))
    predictor = open_model(str(folder), wishes=Wishes(kind="arrays"), engine=wish)
    predictor.load()
    predictor.predict(batch)
    return predictor


def outputs_of(predictor: LocalPredictor, batch: Sequence[FileBytes]) -> Tensors:
    """Predict, and put the outputs of the items together again."""
    outcomes: Sequence[Any] = predictor.predict(batch)
    return {name: np.stack([outcome[name] for outcome in outcomes]) for name in outcomes[0]}


def seconds_of(predictor: LocalPredictor, batch: Sequence[FileBytes]) -> Seconds:
    """Predict, and tell what that took."""
    wall, processor = time.perf_counter(), time.process_time()
    predictor.predict(batch)
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def measure(model: str, folder: Path, batch_size: int, rounds: int) -> list[Found]:
    """Let all engines predict on the same batch, in turn."""
    batch = files(batch_size)
    predictors = {name: load(folder, name, batch) for name in (TENSORFLOW, *ENGINES)}
    outputs = {name: outputs_of(predictor, batch) for name, predictor in predictors.items()}
    measures = {name: partial(seconds_of, predictor, batch) for name, predictor in predictors.items()}
    seconds = interleave(measures, rounds)
    return [_found(model, batch_size, name, seconds, outputs) for name in predictors]


def _found(
    model: str,
    batch_size: int,
    engine: str,
    seconds: Mapping[str, Sequence[Seconds]],
    outputs: Mapping[str, Tensors],
) -> Found:
    wall = {name: Samples([taken.wall for taken in seconds[name]]) for name in (TENSORFLOW, engine)}
    processor = {name: Samples([taken.processor for taken in seconds[name]]) for name in (TENSORFLOW, engine)}
    found, expected = outputs[engine], outputs[TENSORFLOW]
    return Found(
        model,
        batch_size,
        engine,
        milliseconds=wall[engine].scaled(1e3),
        speed=wall[TENSORFLOW].over(wall[engine]),
        processor_speed=processor[TENSORFLOW].over(processor[engine]),
        difference=max(largest_absolute_difference(found[name], expected[name]) for name in expected),
        relative_difference=difference(found, expected).value,
    )


def bounds(found: Sequence[Found]) -> list[Bound]:
    """Tell what must hold of what was measured."""
    holding = []
    for (model, batch_size), (engines, least) in LEAST_SPEEDUPS.items():
        candidates = [
            one
            for one in found
            if (one.model, one.batch_size) == (model, batch_size) and one.engine in engines
        ]
        if candidates:
            best = max(candidates, key=lambda one: one.speed.median)
            promise = f"{model} in batches of {batch_size} is at least {least:g} times as fast"
            told = f"{best.speed.median:.2f} times with {best.engine}"
            holding.append(Bound(promise, told, best.speed.median >= least))
    largest = max(one.difference for one in found)
    equal = Bound(
        f"The outputs are TensorFlow's within {LARGEST_DIFFERENCE:g}",
        f"{largest:.1g}",
        largest <= LARGEST_DIFFERENCE,
    )
    return [*holding, equal]


def section(found: Sequence[Found], rounds: int) -> Section:
    """Tell what was measured."""
    return Section(
        title="Engines",
        paragraphs=[
            f"Models of `keras.applications` with random weights, float32, {SIDE} x {SIDE}: batches of "
            f"arrays in memory through the predictor alone, on {available_cores()} cores, {rounds} rounds in "
            "turn. What else the machine does disturbs the processors' time less than the time on the clock; "
            "the ratio of the former leaves out how well an engine keeps all cores busy.",
        ],
        tables=[Table(HEADER, [one.row for one in found])],
        bounds=bounds(found),
    )


def main(models: Sequence[str], batch_sizes: Sequence[int], rounds: int) -> int:
    """Print the section, and return the exit code."""
    found = []
    for model in models:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            in_own_process(save_model, model, folder)
            for batch_size in batch_sizes:
                found += measure(model, folder, batch_size, rounds)
    return show(section(found, rounds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--batch_size", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    sys.exit(main(given.models, given.batch_size or BATCH_SIZES, given.rounds))
