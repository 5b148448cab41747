"""A streaming job, live, on a machine without an account: what `./run_local.sh --demo streaming` shows.

Digits are dropped into a bucket, which notifies a topic; the pipeline listens, and publishes its predictions;
these are shown as they come, with the time since the drop. Cloud Storage and Pub/Sub are emulators.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulators.processes import MissingProgram
from emulators.pubsub import PROJECT, create_subscription, create_topic, pubsub_emulator, pull
from emulators.storage import fake_gcs_server, notification_flags, storage_client_of

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "examples" / "digits"
BUCKET = "photos"
SECONDS = 60.0
DROPS_A_SECOND = 2.0
BAD_EVERY = 15
SECONDS_TO_STOP = 30.0


@dataclass
class Shown:
    """What has been seen of the drops.

    Attributes:
        dropped: When each object was dropped, by its uri, in seconds since 1970.
        latencies: From the drop until the prediction was published, in seconds.
    """

    dropped: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def show_all(self, messages: Sequence[Any]) -> None:
        """Print predictions and dead letters."""
        for message in messages:
            self._show(message)

    def _show(self, message: Any) -> None:
        record = json.loads(message.data)
        latency = message.publish_time.timestamp() - self.dropped[record["uri"]]
        self.latencies.append(latency)
        outputs = record.get("outputs")
        told = f"is a {outputs['label']}" if outputs else f"is none: {record['error']}"
        print(f"  {record['uri']:<22}  {told:<24} {latency * 1e3:6.0f} ms", flush=True)

    def __str__(self) -> str:
        """Sum up."""
        if not self.latencies:
            return "nothing was predicted"
        ordered = [1e3 * seconds for seconds in sorted(self.latencies)]
        late = ordered[int(len(ordered) * 0.99)]
        half = statistics.median(ordered)
        return f"{len(ordered)} records: half of them within {half:.0f} ms, 99% within {late:.0f} ms"


@dataclass(frozen=True)
class Services:
    """What the job runs between.

    Attributes:
        storage: A client of Cloud Storage.
        notifications: The subscription that the pipeline listens to.
        results: The topic that it publishes to.
        watched: The subscription by which its results are seen.
    """

    storage: Any
    notifications: str
    results: str
    watched: str


@contextlib.contextmanager
def services() -> Iterator[Services]:
    """Start the emulators, with a bucket that notifies a topic.

    Raises:
        MissingProgram: One is not installed.
    """
    with pubsub_emulator():
        notifications = create_topic("drops")
        results = create_topic("results")
        listened = create_subscription("drops", notifications)
        watched = create_subscription("results", results)
        with (
            fake_gcs_server(*notification_flags(PROJECT, "drops", BUCKET)) as host,
            storage_client_of(host) as client,
        ):
            client.bucket(BUCKET).create(project=PROJECT)
            yield Services(client, listened, results, watched)


@contextlib.contextmanager
def pipeline_between(running: Services) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command that a user would type."""
    command = (
        *(sys.executable, "-m", "pipeline", "--input_subscription", running.notifications),
        *("--model", str(DIGITS / "model"), "--signature", "from_bytes"),
        *("--output", f"pubsub:{running.results}", "--dead_letters", f"pubsub:{running.results}"),
    )
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def watch(
    pipeline: subprocess.Popen[bytes], running: Services, shown: Shown, seconds: float, drops_a_second: float
) -> None:
    """Drop digits and show what becomes of them, for a time."""
    images = itertools.cycle(enumerate(sorted((DIGITS / "images").iterdir())))
    drop(running.storage, next(images), shown)
    while pipeline.poll() is None and not shown.latencies:
        shown.show_all(pull(running.watched, 1, seconds=0.5))
    print("... of which the first waited for the model to load.", flush=True)
    shown.latencies.clear()
    end, next_drop = time.time() + seconds, time.time()
    while pipeline.poll() is None and time.time() < end:
        if time.time() >= next_drop:
            next_drop += 1 / drops_a_second
            drop(running.storage, next(images), shown)
        shown.show_all(pull(running.watched, 100, seconds=0.02))


def drop(storage: Any, numbered: tuple[int, Path], shown: Shown) -> None:
    """Put an image into the bucket; every now and then, half of one."""
    number, image = numbered
    content = image.read_bytes()
    is_bad = number % BAD_EVERY == BAD_EVERY - 1
    name = f"{'cut' if is_bad else 'digit'}-{len(shown.dropped):04}.png"
    shown.dropped[f"gs://{BUCKET}/{name}"] = time.time()
    storage.bucket(BUCKET).blob(name).upload_from_string(content[: len(content) // 2] if is_bad else content)


def main(seconds: float = SECONDS, drops_a_second: float = DROPS_A_SECOND) -> int:
    """Show the job for a time, or until Ctrl-C; return the exit code of the pipeline."""
    shown = Shown()
    try:
        with services() as running, pipeline_between(running) as pipeline:
            print(f"Digits are dropped into gs://{BUCKET}; the pipeline starts ...", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                watch(pipeline, running, shown, seconds, drops_a_second)
            print(f"{shown}\nStopping the pipeline, as `kill` would ...", flush=True)
            pipeline.send_signal(signal.SIGTERM)
            code = pipeline.wait(SECONDS_TO_STOP)
    except MissingProgram as error:
        print(f"The demonstration {error}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show a streaming job, live.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="How long, from the first record on.")
    parser.add_argument("--drops_a_second", type=float, default=DROPS_A_SECOND)
    given = parser.parse_args()
    sys.exit(main(given.seconds, given.drops_a_second))
