"""Models that are served elsewhere: what the client costs, and when it is worth it.

python -m benchmarks.endpoints
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count, cycle, islice
from pathlib import Path

from benchmarks.commands import REPOSITORY
from benchmarks.endpoint_encoding import STANDARD, Cost, measure_encoding, samples_of
from benchmarks.endpoint_places import MEMORY, SERVER, measure_places
from benchmarks.endpoint_server import REFUSALS, SCORES, endpoint_server
from benchmarks.endpoint_throughput import (
    BATCH,
    IN_FLIGHT,
    PROTOCOLS,
    SECONDS_OF_AN_ANSWER,
    Run,
    measure_throughput,
)
from benchmarks.materials import in_own_process, save_mobilenet, write_photos
from benchmarks.report import Bound, Section, Table, show
from benchmarks.samples import Samples

DIGITS = REPOSITORY / "examples" / "digits"
FILES = 10_000
RUNS = 5
REFUSED = 0.3

PHOTO_BYTES = 33_000
ENCODINGS = 51
MANY_SCORES = 1_000

PLACES = {"the digits": (3, 6_400), "MobileNetV2": (3, 6 * BATCH)}
"""How often, and over how many files."""

LEAST_SHARE, MOST_ENCODING, MOST_REQUESTS = 0.9, 0.006, 1.6

Pairs = Mapping[str, tuple[Samples, Samples]]
Costs = Mapping[int, Mapping[str, Sequence[Cost]]]
Places = Mapping[str, Mapping[str, Samples]]


def write_digits(folder: Path, number: int) -> list[Path]:
    """Copy the digits, again and again, under names of their own."""
    folder.mkdir()
    contents = [path.read_bytes() for path in sorted((DIGITS / "images").iterdir())]
    paths = [folder / f"{index:05}.png" for index in range(number)]
    for path, content in zip(paths, islice(cycle(contents), number), strict=True):
        path.write_bytes(content)
    return paths


def throughput_table(pairs: Pairs) -> Table:
    """Write the files a second, and the ratio of neighbours."""
    rows = [
        [PROTOCOLS[protocol], f"{bare:,.0f}", f"{pipeline:,.0f}", f"{pipeline.over(bare):.2f}"]
        for protocol, (bare, pipeline) in pairs.items()
    ]
    header = [f"{IN_FLIGHT} requests under way", "bare client, files/s", "pipeline, files/s", "ratio"]
    return Table(header, rows)


def encoding_table(costs: Costs) -> Table:
    """Write the milliseconds of a batch."""
    rows = [
        [
            f"{name}, {scores:,} numbers an item",
            *(f"{samples_of(found, part).scaled(1e3):.2f}" for part in ("encoding", "parsing", "both")),
            f"{samples_of(found, 'processor').median * 1e3:.2f}",
            f"{samples_of(found, 'call').median * 1e3:.1f}",
        ]
        for scores, by_name in costs.items()
        for name, found in by_name.items()
    ]
    header = ["a batch, ms", "encoding", "parsing", "both", "both, processor", "the whole call"]
    return Table(header, rows)


def refused_table(usual: Samples, refused: Sequence[Run]) -> Table:
    """Write what became of requests that were refused."""
    paces = Samples([run.files_per_second for run in refused])
    row = [
        f"{FILES:,} files",
        f"{Samples([run.requests / batches() for run in refused]):.2f}",
        f"{max(run.lost for run in refused)}",
        f"{max(run.doubled for run in refused)}",
        f"{usual.over(paces):.2f}",
    ]
    header = [
        f"{REFUSED:.0%} refused",
        "requests a batch",
        "lost",
        "doubled",
        "time to that without refusals",
    ]
    return Table(header, [row])


def places_table(places: Places) -> Table:
    """Write the files a second in both places."""
    rows = [
        [model, f"{found[MEMORY]:,.0f}", f"{found[SERVER]:,.0f}", f"{found[MEMORY].over(found[SERVER]):.2f}"]
        for model, found in places.items()
    ]
    return Table(["on the same cores", f"{MEMORY}, files/s", f"{SERVER}, files/s", "ratio"], rows)


def batches() -> int:
    """Return the least requests that the files fit into."""
    return -(-FILES // BATCH)


def throughput_bound(pairs: Pairs) -> Bound:
    """Tell whether the pipeline keeps up with the bare clients."""
    ratios = [pipeline.over(bare).median for bare, pipeline in pairs.values()]
    found = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    promise = f"The pipeline has at least {LEAST_SHARE} of a bare client's pace"
    return Bound(promise, found, min(ratios) >= LEAST_SHARE)


def encoding_bound(costs: Costs) -> Bound:
    """Tell whether encoding and parsing are cheap."""
    medians = {
        f"{name}, {scores:,} numbers": samples_of(found, "both").median
        for scores, by_name in costs.items()
        for name, found in by_name.items()
        if name != STANDARD
    }
    slowest = max(medians, key=lambda name: medians[name])
    standard = [samples_of(by_name[STANDARD], "both").median for by_name in costs.values()]
    promise = f"Encoding and parsing take less than {MOST_ENCODING * 1e3:g} ms a batch"
    found = (
        f"at most {medians[slowest] * 1e3:.1f} ms ({slowest}; the standard library takes "
        f"{' and '.join(f'{median * 1e3:.1f}' for median in standard)} ms)"
    )
    return Bound(promise, found, medians[slowest] < MOST_ENCODING)


def refused_bounds(refused: Sequence[Run]) -> list[Bound]:
    """Tell whether all files have one prediction, for few requests."""
    requests = max(run.requests for run in refused) / batches()
    wrong = sum(run.lost + run.doubled for run in refused)
    condition = f"When {REFUSED:.0%} of the requests are refused"
    return [
        Bound(f"{condition}, no file is lost or doubled", f"{wrong} in {len(refused)} runs", not wrong),
        Bound(
            f"{condition}, there are at most {MOST_REQUESTS} for a batch, in any run",
            f"{requests:.2f}",
            requests <= MOST_REQUESTS,
        ),
    ]


def section(pairs: Pairs, refused: Sequence[Run], costs: Costs, places: Places) -> Section:
    """Tell what was found."""
    usual = pairs["tf_serving"][1]
    most = IN_FLIGHT / SECONDS_OF_AN_ANSWER * BATCH
    statuses = " or ".join(map(str, REFUSALS))
    return Section(
        title="Models that are served elsewhere",
        paragraphs=[
            "First, a server in a process of its own, which computes nothing, and answers each request after "
            f"{SECONDS_OF_AN_ANSWER * 1e3:g} ms with a label and {SCORES} numbers for each item. The "
            f"pipeline with `--endpoint` and its defaults predicts on {FILES:,} digits, in batches of "
            f"{BATCH}; a bare client (`urllib3`, or a stub of gRPC, with {IN_FLIGHT} threads) sends the same "
            "requests, which it has encoded before, and does not look at the answers. The pace is the "
            f"server's, between its first answer and its last; {RUNS} rounds in turn. At the most that is "
            f"possible, {most:,.0f} files a second, there are {1e6 / most:.0f} us for each, in which the "
            "pipeline lists it, reads it, encodes it, reads its answer and writes its record.",
            f"Then, the same server, which refuses {REFUSED:.0%} of the requests at random, with {statuses}; "
            "over HTTP.",
            f"Then, a batch of {BATCH} JPEG files of {PHOTO_BYTES / 1e3:.0f} kB, to a server that answers at "
            f"once, {ENCODINGS} rounds in turn. *The whole call* has the sending and the server as well.",
            "Last, in memory or remote: the pipeline with the model in its own process, and with "
            "`beam-predict serve` in another one. Both share the same cores, so this is what the way to the "
            "server and back costs, and not what a server elsewhere would gain. The pace is that from the "
            "start of the first batch to the end of the last. The digits' model takes next to no time; "
            "MobileNetV2 takes photos of 50 kB.",
        ],
        tables=[
            throughput_table(pairs),
            refused_table(usual, refused),
            encoding_table(costs),
            places_table(places),
        ],
        bounds=[throughput_bound(pairs), *refused_bounds(refused), encoding_bound(costs)],
    )


def measure(folder: Path) -> Section:
    """Measure everything."""
    outputs = (folder / f"out{index}" for index in count())
    digits = write_digits(folder / "digits", FILES)
    photos = in_own_process(write_photos, folder / "photos", BATCH, PHOTO_BYTES)
    contents = [path.read_bytes() for path in photos]
    with endpoint_server() as server:
        pairs, refused = measure_throughput(server, digits, outputs, RUNS, REFUSED)
        costs = {
            scores: measure_encoding(server, contents, scores, ENCODINGS) for scores in (SCORES, MANY_SCORES)
        }
    in_own_process(save_mobilenet, folder / "mobilenet")
    large = in_own_process(write_photos, folder / "large", PLACES["MobileNetV2"][1])
    materials = {"the digits": (DIGITS / "model", digits), "MobileNetV2": (folder / "mobilenet", large)}
    places = {
        name: measure_places(model, files[: PLACES[name][1]], outputs, PLACES[name][0])
        for name, (model, files) in materials.items()
    }
    return section(pairs, refused, costs, places)


def main() -> int:
    """Print the section, and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        return show(measure(Path(name)))


if __name__ == "__main__":
    sys.exit(main())
