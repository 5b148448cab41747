"""How soon the row of a file is in its table, in streaming.

python -m benchmarks.streaming [SECONDS] [FILES_A_SECOND]
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.commands import REPOSITORY
from benchmarks.report import Bound, Section, Table, show
from emulators.bigquery import bigquery_client_of, bigquery_emulator
from emulators.pubsub import PROJECT, create_subscription, create_topic, pubsub_emulator
from emulators.storage import fake_gcs_server, notification_flags, storage_client_of
from options import parse
from pipeline import preflight
from pipeline.graph import build
from pipeline.job import make_steps
from pipeline.local_streaming import run_until_stopped
from pipeline.prepare import prepare_outputs

DIGITS = REPOSITORY / "examples" / "digits"
SECONDS = 60.0
FILES_A_SECOND = 20.0
BUCKET = "photos"
DATASET = "digits"
TABLE = f"{PROJECT}.{DATASET}.predictions"
LONE_FILES = 5
QUIET_SECONDS = 5.0
SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_WAIT = 60.0

MOST_MEDIAN, MOST_99, MOST_LONE = 1.0, 3.0, 2.0


@dataclass
class Rows:
    """When files were dropped, and when their rows were seen, in seconds."""

    client: Any
    dropped: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Ask for the rows; takes part of the time that is measured."""
        found = [row["uri"] for row in self.client.query(f"SELECT uri FROM `{TABLE}`").result()]  # noqa: S608
        now = time.monotonic()
        for uri in found:
            self.seen.setdefault(uri, now)

    def wait_for_all(self) -> None:
        """Wait until each file has its row."""
        deadline = time.monotonic() + SECONDS_TO_WAIT
        while self.dropped.keys() - self.seen.keys():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(self.seen):,} of {len(self.dropped):,} files have a row")
            self.look()
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def waits(self, uris: Sequence[str]) -> list[float]:
        """Return for how long files waited for their rows, sorted."""
        return sorted(self.seen[uri] - self.dropped[uri] for uri in uris)


@contextlib.contextmanager
def job(subscription: str) -> Iterator[None]:
    """Run the pipeline in this process, whose clients are pointed to the emulators."""
    stop = threading.Event()
    flags = ["--input_subscription", subscription, "--output", f"bigquery:{TABLE}"]
    options = parse([*flags, "--model", str(DIGITS / "model"), "--signature", "from_bytes"])
    predictor = preflight.check(options)
    prepare_outputs(options, predictor.signature)
    steps = make_steps(options, predictor)
    running = threading.Thread(
        target=run_until_stopped, args=(options, lambda pipeline: build(pipeline, steps), None, stop)
    )
    running.start()
    try:
        yield
    finally:
        stop.set()
        running.join()


def drop(bucket: Any, image: Path, rows: Rows) -> str:
    """Put an image into the bucket, and return its uri."""
    name = f"{len(rows.dropped):06}.png"
    uri = f"gs://{BUCKET}/{name}"
    rows.dropped[uri] = time.monotonic()
    bucket.blob(name).upload_from_filename(str(image))
    return uri


def drop_many(bucket: Any, rows: Rows, seconds: float, files_a_second: float) -> list[str]:
    """Drop files at a steady pace, and look for rows meanwhile."""
    images, start = cycle(sorted((DIGITS / "images").iterdir())), time.monotonic()
    looking, done = threading.Event(), threading.Event()

    def look() -> None:
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            rows.look()
        looking.set()

    threading.Thread(target=look).start()
    uris = []
    while (number := len(uris)) < seconds * files_a_second:
        time.sleep(max(0.0, start + number / files_a_second - time.monotonic()))
        uris.append(drop(bucket, next(images), rows))
    done.set()
    looking.wait()
    return uris


def measure(seconds: float, files_a_second: float) -> tuple[list[float], list[float]]:
    """Return how long files waited for their rows: lone ones at idle, and those of a steady flow."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(pubsub_emulator())
        subscription = create_subscription("drops", create_topic("drops"))
        storage_host = stack.enter_context(fake_gcs_server(*notification_flags(PROJECT, "drops", BUCKET)))
        bucket = stack.enter_context(storage_client_of(storage_host)).create_bucket(BUCKET)
        client = stack.enter_context(bigquery_client_of(stack.enter_context(bigquery_emulator())))
        client.create_dataset(DATASET)
        rows, image = Rows(client), next((DIGITS / "images").iterdir())
        stack.enter_context(job(subscription))
        drop(bucket, image, rows)  # waits for the model
        rows.wait_for_all()
        lone = []
        for _ in range(LONE_FILES):
            time.sleep(QUIET_SECONDS)
            lone.append(drop(bucket, image, rows))
            rows.wait_for_all()
        flow = drop_many(bucket, rows, seconds, files_a_second)
        rows.wait_for_all()
        return rows.waits(lone), rows.waits(flow)


def quantile(waits: Sequence[float], share: float) -> float:
    """Return the wait that a share of all does not exceed."""
    return waits[min(len(waits) - 1, int(len(waits) * share))]


def row(name: str, waits: Sequence[float]) -> list[str]:
    """Make a row of the table."""
    shown = (quantile(waits, 0.5), quantile(waits, 0.99), waits[-1])
    return [name, f"{len(waits):,}", *(f"{1_000 * value:.0f}" for value in shown)]


def section(lone: Sequence[float], flow: Sequence[float], seconds: float, files_a_second: float) -> Section:
    """Tell what the waits show."""
    median, late = quantile(flow, 0.5), quantile(flow, 0.99)
    return Section(
        title="From the drop of a file to its row",
        paragraphs=[
            f"Digits dropped into a bucket, {files_a_second:g} a second for {seconds:g} s: notification, "
            "message, the pipeline on the local runner with its defaults, a row in BigQuery; all of Google's "
            "services are emulators on the same machine. Then, lone files, "
            f"{QUIET_SECONDS:g} s after the last one. A row counts as there when a query finds it, every "
            f"{SECONDS_BETWEEN_LOOKS * 1e3:g} ms. The table shows milliseconds.",
        ],
        tables=[
            Table(["files", "number", "median", "99%", "longest"], [row("flow", flow), row("lone", lone)])
        ],
        bounds=[
            Bound(
                f"Half of the rows are there within {MOST_MEDIAN:g} s",
                f"{median:.2f} s",
                median < MOST_MEDIAN,
            ),
            Bound(f"99% of the rows are there within {MOST_99:g} s", f"{late:.2f} s", late < MOST_99),
            Bound(
                f"A lone file's row is there within {MOST_LONE:g} s",
                f"{lone[-1]:.2f} s",
                lone[-1] < MOST_LONE,
            ),
        ],
    )


def main(seconds: float = SECONDS, files_a_second: float = FILES_A_SECOND) -> int:
    """Print the section, and return the exit code."""
    return show(section(*measure(seconds, files_a_second), seconds, files_a_second))


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
