"""Whether the memory of a run grows with the number of its files: 500 and 2,000 photos of 50 kB.

python -m benchmarks.memory
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.commands import run_command
from benchmarks.materials import in_own_process, save_features, write_list, write_photos
from benchmarks.report import Bound, Section, Table, show
from benchmarks.samples import Samples, interleave

FEW, MANY = 500, 2_000
SIGNATURES = {"from_bytes": "bytes, read by the pipeline", "serving_default": "names, read by the graph"}
ROUNDS = 3
MOST_GROWTH = 1.05
MB = 1e6


def peak(model: Path, signature: str, names: str, count: int) -> float:
    """Return the peak memory of the command over a list, in bytes."""
    run = run_command("--model", str(model), "--signature", signature, "--input", names)
    if run.summary["predictions"] != count:
        raise RuntimeError(f"{run.summary['predictions']} of {count} photos have a prediction")
    return float(run.peak_bytes)


def measure(folder: Path) -> dict[str, Samples]:
    """Return the peaks by `SIGNATURE COUNT`."""
    model = folder / "model"
    in_own_process(save_features, model)
    photos = in_own_process(write_photos, folder / "photos", MANY)
    lists = {count: write_list(folder / f"{count}.txt", photos[:count]) for count in (FEW, MANY)}
    measures = {
        f"{signature} {count}": partial(peak, model, signature, names, count)
        for signature in SIGNATURES
        for count, names in lists.items()
    }
    return {name: Samples(peaks) for name, peaks in interleave(measures, ROUNDS).items()}


def section(peaks: dict[str, Samples]) -> Section:
    """Tell what the peaks show."""
    rows, bounds = [], []
    for signature, fed_with in SIGNATURES.items():
        few, many = (peaks[f"{signature} {count}"] for count in (FEW, MANY))
        growth = many.median / few.median
        rows.append([fed_with, f"{few.scaled(1 / MB):.0f}", f"{many.scaled(1 / MB):.0f}", f"{growth:.3f}"])
        promise = f"The peak with {fed_with}, at {MANY:,} photos, is at most {MOST_GROWTH} of that at {FEW:,}"
        bounds.append(Bound(promise, f"{growth:.3f}", growth <= MOST_GROWTH))
    return Section(
        title="Memory does not grow with the number of files",
        paragraphs=[
            f"The peak resident memory of `python -m pipeline` over {FEW:,} and over {MANY:,} JPEG files of "
            f"about 50 kB, as the system reports it at the end of the process, in MB; {ROUNDS} runs of each "
            "in turn. Nearly all of it is Python, Beam and TensorFlow.",
        ],
        tables=[
            Table(["the model takes", f"{FEW:,} photos", f"{MANY:,} photos", "ratio of the medians"], rows)
        ],
        bounds=bounds,
    )


def main() -> int:
    """Print the section, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        return show(section(measure(Path(folder))))


if __name__ == "__main__":
    sys.exit(main())
