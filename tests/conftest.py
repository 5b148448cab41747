"""What many tests share: the digits, bad files, and runs of the command."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from emulators.bigquery import bigquery_client_of, bigquery_emulator
from emulators.processes import MissingProgram
from emulators.pubsub import PROJECT, create_topic, pubsub_emulator
from emulators.storage import fake_gcs_server, notification_flags, storage_client_of
from pipeline.cli import main

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "model"
IMAGES = sorted((DIGITS / "images").glob("*.png"))
MAX_FILE_BYTES = 10_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run of the command that has ended."""

    code: int
    printed: str
    complaints: str
    output: Path

    @property
    def predictions(self) -> list[Row]:
        return rows(self.output, "predictions")

    @property
    def dead_letters(self) -> list[Row]:
        return rows(self.output, "dead_letters")

    @property
    def summary(self) -> Row:
        content: Row = json.loads((self.output / "summary.json").read_text())
        return content


@dataclass(frozen=True)
class BadFile:
    """A file that has no prediction, and what its dead letter says."""

    uri: str
    stage: str
    error: str


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:  # a session's fixtures know no hooks of here
    return (yield from _unless_missing())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    return (yield from _unless_missing())


def _unless_missing() -> Generator[None, object, object]:
    """Skip a test that needs a program which this machine lacks; on CI, fail it."""
    try:
        return (yield)
    except MissingProgram as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def pubsub() -> Iterator[str]:
    """The address of a Pub/Sub emulator, which is in `PUBSUB_EMULATOR_HOST` too."""
    with pubsub_emulator() as host:
        yield host


@dataclass(frozen=True)
class NotifyingBucket:
    """A bucket that publishes to a topic what happens to its objects."""

    storage_host: str
    bucket: str
    topic: str


@pytest.fixture(scope="session")
def gcs_with_notifications(pubsub: str) -> Iterator[NotifyingBucket]:
    """A Cloud Storage with such a bucket; `storage_client_of` points this process to it."""
    bucket = "notifying"
    topic = create_topic(f"objects-of-{bucket}")
    flags = notification_flags(PROJECT, topic.rpartition("/")[2], bucket)
    with fake_gcs_server(*flags) as host:
        with storage_client_of(host) as client:
            client.create_bucket(bucket)
        yield NotifyingBucket(host, bucket, topic)


@dataclass(frozen=True)
class Warehouse:
    """A BigQuery, and a Cloud Storage whose objects it can load."""

    bigquery_host: str
    storage_host: str


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """The addresses of an emulator of BigQuery, and of what it loads from."""
    root = str(tmp_path_factory.mktemp("loads"))
    with fake_gcs_server(root=root) as storage_host, bigquery_emulator(root) as bigquery_host:
        yield Warehouse(bigquery_host, storage_host)


@pytest.fixture
def bigquery(warehouse: Warehouse) -> Iterator[Any]:
    """A client of BigQuery; for the test, all others of this process are pointed to the same emulator."""
    with bigquery_client_of(warehouse.bigquery_host) as client:
        yield client


@pytest.fixture
def load_bucket(warehouse: Warehouse) -> Iterator[str]:
    """A bucket that BigQuery can load from, by its `gs://` name, which this process finds too."""
    with storage_client_of(warehouse.storage_host) as client:
        if client.lookup_bucket("loads") is None:
            client.create_bucket("loads")
        yield "gs://loads"


def run(*flags: object, output: Path) -> Run:
    """Run the command in this process."""
    printed, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        code = main([*map(str, flags), "--output", str(output)])
    return Run(code, printed.getvalue(), complaints.getvalue(), output)


def rows(folder: Path, kind: str) -> list[Row]:
    """Read the records of a run, in any format, as nested as they were written."""
    return [row for path in sorted(folder.glob(f"{kind}-*")) for row in _READERS[path.suffix](path)]


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(newline="") as file:
        for flat in csv.DictReader(file):
            row: Row = {name: value for name, value in flat.items() if "." not in name}
            outputs = {
                name.partition(".")[2]: json.loads(value) for name, value in flat.items() if "." in name
            }
            yield {**row, "attributes": json.loads(row["attributes"])} | (
                {"outputs": outputs} if outputs else {}
            )


def _read_parquet(path: Path) -> Iterator[Row]:
    for row in pq.read_table(path).to_pylist():
        yield {**row, "attributes": json.loads(row["attributes"])}


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": lambda path: map(json.loads, path.open()),
    ".parquet": _read_parquet,
}


@pytest.fixture(scope="session")
def labels() -> dict[str, int]:
    """The digits' true labels by the names of their files."""
    with (DIGITS / "labels.csv").open(newline="") as file:
        return {Path(row["uri"]).name: int(row["label"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Sequence[BadFile]:
    """One bad file of each kind, and a missing one."""
    folder = tmp_path_factory.mktemp("bad")
    png = IMAGES[0].read_bytes()
    contents = {
        "empty.png": b"",
        "text.jpg": b"This is no image.\n",
        "cut.png": png[: len(png) // 2],
        "cut.jpg": _jpeg()[:300],
        "noise.png": bytes(range(256)),
        "large.png": b"x" * (MAX_FILE_BYTES + 1),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    expected = {
        "empty.png": ("read", "EmptyFile"),
        "text.jpg": ("decode", "DecodeError"),
        "cut.png": ("decode", "DecodeError"),
        "cut.jpg": ("decode", "DecodeError"),
        "noise.png": ("decode", "DecodeError"),
        "large.png": ("read", "FileTooLarge"),
        "folder.png": ("read", "NotAFile"),
        "missing.png": ("read", "FileMissing"),
    }
    return [BadFile(str(folder / name), *told) for name, told in expected.items()]


@pytest.fixture(scope="session")
def mixed_list(bad_files: Sequence[BadFile], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of all digits with the bad files among them."""
    names = [str(path) for path in IMAGES]
    for position, bad in enumerate(bad_files):
        names.insert(position * 41 + 5, bad.uri)
    path = tmp_path_factory.mktemp("list") / "names.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder with three digits of one's own."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for path in IMAGES[:3]:
        shutil.copy(path, folder)
    return folder


def _jpeg() -> bytes:
    from transforms.predictors.tensorflow_runtime import import_tensorflow

    tf = import_tensorflow()
    noise = tf.random.stateless_uniform((64, 64, 3), seed=(1, 2), maxval=256, dtype=tf.int32)
    encoded: bytes = tf.io.encode_jpeg(tf.cast(noise, tf.uint8)).numpy()
    return encoded
