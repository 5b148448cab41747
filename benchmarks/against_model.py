"""What the pipeline and its predictor add to the bare model: MobileNetV2 over photos of 50 kB.

python -m benchmarks.against_model
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.materials import (
    in_own_process,
    save_features,
    save_free,
    save_mobilenet,
    write_list,
    write_photos,
)
from benchmarks.report import Bound, Section, Table, show
from benchmarks.samples import Samples, interleave
from benchmarks.timing import Pace, count_lines, noted, noted_model, run_pipeline, take_pace
from transforms.batch_files import DEFAULT_BATCH_SIZE
from transforms.predictors.open_model import open_model
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef

SIGNATURE = "from_bytes"
BATCH = DEFAULT_BATCH_SIZE
MOST_OVERHEAD = 0.03

MODELS = {
    "MobileNetV2": save_mobilenet,
    "decoding, resizing, 64 sums": save_features,
    "nothing": save_free,
}
CALLS = {"MobileNetV2": 31, "nothing": 301}
RUNS = {
    "MobileNetV2": (5, 8 * BATCH),
    "decoding, resizing, 64 sums": (5, 40 * BATCH),
    "nothing": (5, 40 * BATCH),
}
"""How often, and over how many photos."""


class BareModel:
    """TensorFlow as a script would use it: a signature, called on bytes."""

    def __init__(self, model: Path) -> None:
        self._tf = import_tensorflow()
        self._loaded = self._tf.saved_model.load(str(model))
        self._call = self._loaded.signatures[SIGNATURE]

    def predict(self, contents: Sequence[bytes]) -> dict[str, Any]:
        """Return the outputs as arrays."""
        outputs = self._call(image_bytes=self._tf.constant(contents))
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def seconds_of(function: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure_calls(model: Path, photos: Sequence[Path], calls: int) -> tuple[Samples, Samples]:
    """Return the seconds of a batch: by the bare model, and by the predictor."""
    bare, predictor = BareModel(model), open_model(str(model), SIGNATURE)
    predictor.load()
    contents = [path.read_bytes() for path in photos[:BATCH]]
    items = [FileBytes(FileRef(str(path)), content) for path, content in zip(photos, contents, strict=False)]
    measures = {
        "bare": lambda: seconds_of(lambda: bare.predict(contents)),
        "predictor": lambda: seconds_of(lambda: predictor.predict(items)),
    }
    interleave(measures, 2)  # the first calls are slow
    seconds = interleave(measures, calls)
    return Samples(seconds["bare"]), Samples(seconds["predictor"])


def measure_runs(
    model: Path, photos: Sequence[Path], runs: int, outputs: Iterator[Path]
) -> dict[str, list[Pace]]:
    """Return the paces of the bare model on batches in memory, and of the pipeline over the files."""
    names = write_list(next(outputs), photos)
    bare = BareModel(model)

    def loop() -> Pace:
        for start in range(0, len(contents), BATCH):
            batch = contents[start : start + BATCH]
            noted(len(batch), partial(bare.predict, batch))
        return take_pace()

    def pipeline() -> Pace:
        output = next(outputs)
        run_pipeline(noted_model(str(model), SIGNATURE), names, output)
        if count_lines(output) != len(photos):
            raise RuntimeError(f"{count_lines(output)} of {len(photos)} photos have a prediction")
        return take_pace()

    contents = [path.read_bytes() for path in photos]
    return interleave({"bare": loop, "pipeline": pipeline}, runs)


def calls_row(name: str, bare: Samples, predictor: Samples) -> list[str]:
    """Write the seconds of calls in milliseconds, and their difference in microseconds."""
    added = predictor.minus(bare).median * 1e6
    return [name, f"{bare.scaled(1e3):.2f}", f"{predictor.scaled(1e3):.2f}", f"{added:.0f}"]


def runs_row(name: str, bare: Sequence[Pace], pipeline: Sequence[Pace]) -> list[str]:
    """Write the microseconds of a photo, the share of the bare model's speed, and what is the pipeline's."""
    alone = Samples([1e6 / pace.files_per_second for pace in bare])
    whole = Samples([1e6 / pace.files_per_second for pace in pipeline])
    between = Samples([1e6 * (pace.seconds - pace.predicting) / BATCH for pace in pipeline])
    return [name, f"{alone:.0f}", f"{whole:.0f}", f"{alone.over(whole):.2f}", f"{between:.0f}"]


def overhead_of(calls: Mapping[str, tuple[Samples, Samples]]) -> tuple[float, str]:
    """Return what the predictor adds to a call of MobileNetV2, as a share of it, and in words.

    What it adds does not depend on what the model computes, so it is taken from the model that computes
    nothing: a busy machine hides it among the slow calls.
    """
    bare, predictor = calls["MobileNetV2"]
    idle, idle_predictor = calls["nothing"]
    added = idle_predictor.minus(idle).median
    share = added / bare.median
    pairs = predictor.over(bare)
    low, _, high = statistics.quantiles(pairs.values, n=4)
    return share, (
        f"it adds {added * 1e6:.0f} us, {share:.2%} of the {bare.median * 1e3:.0f} ms of MobileNetV2 (the "
        f"median of MobileNetV2's own pairs is {pairs.median - 1:+.1%}; half of them are between "
        f"{low - 1:+.1%} and {high - 1:+.1%})"
    )


def section(
    calls: Mapping[str, tuple[Samples, Samples]], runs: Mapping[str, Mapping[str, Sequence[Pace]]]
) -> Section:
    """Tell what the calls and the runs show."""
    promise = f"The predictor adds less than {MOST_OVERHEAD:.0%} to a bare call with a batch of {BATCH}"
    overhead, found = overhead_of(calls)
    return Section(
        title="Against the bare model",
        paragraphs=[
            "MobileNetV2 with random weights, 224 x 224, exported with the decoding and the resizing of JPEG "
            "files in its graph. Bare: `tf.saved_model.load(...).signatures[...]`, called in a loop on "
            "batches that lie in memory, its outputs taken as NumPy arrays.",
            f"First, single calls in pairs ({CALLS['MobileNetV2']} of MobileNetV2): the predictor adds the "
            "check of the outputs' shapes, and a record for each image. What that costs shows with a model "
            f"that computes nothing and has the same outputs ({CALLS['nothing']} pairs).",
            "Then, whole runs in pairs: the pipeline lists photos of 50 kB on a local disk, reads them, "
            "predicts, and writes all outputs to JSON Lines (1,000 scores a photo, of the second model 64). "
            "The times are those between the end of the first batch and the end of the last. *Between* is "
            "what passes from the end of a batch to the start of the next; it is much the same for every "
            "model, and so matters for those that take less than a few milliseconds a photo.",
        ],
        tables=[
            Table(
                [f"a batch of {BATCH}", "bare call, ms", "predictor, ms", "median difference, us"],
                [calls_row(name, *seconds) for name, seconds in calls.items()],
            ),
            Table(
                [
                    "whole runs",
                    "bare, us a photo",
                    "pipeline, us a photo",
                    "share of its speed",
                    "between, us",
                ],
                [runs_row(name, paces["bare"], paces["pipeline"]) for name, paces in runs.items()],
            ),
        ],
        bounds=[Bound(promise, found, overhead < MOST_OVERHEAD)],
    )


def main() -> int:
    """Print the section, and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {name: folder / save.__name__ for name, save in MODELS.items()}
        for model, save in MODELS.items():
            in_own_process(save, models[model])
        photos = in_own_process(write_photos, folder / "photos", max(number for _, number in RUNS.values()))
        outputs = (folder / f"out{index}" for index in count())
        calls = {model: measure_calls(models[model], photos, times) for model, times in CALLS.items()}
        runs = {
            model: measure_runs(models[model], photos[:number], times, outputs)
            for model, (times, number) in RUNS.items()
        }
    return show(section(calls, runs))


if __name__ == "__main__":
    sys.exit(main())
