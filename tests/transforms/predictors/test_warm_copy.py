"""Models that a worker's machine has a copy of already: nothing of them is downloaded there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apache_beam.internal import pickler

from emulators.storage import HOST_VARIABLE, fake_gcs_server, storage_client_of
from tests.conftest import IMAGES, MODEL, ROOT
from tests.storage_relay import StorageRelay, storage_relay
from tests.transforms.predictors.test_keras_file import digits_model
from tests.transforms.predictors.test_tflite import write_digits
from transforms.errors import ModelError
from transforms.predictors.cache_folders import CACHE_VARIABLE
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.local_copy import keep_copy, local_copy
from transforms.predictors.open_model import find_model, open_model
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.versions import VersionedModel, choose_version

PREPROCESSED = Wishes(preprocessing=Preprocessing.parse("scale=0..1,color=gray"))

WORKER = """
import sys
from apache_beam.internal import pickler
from transforms.records import FileBytes, FileRef
predictor = pickler.loads(open(sys.argv[1], "rb").read())
predictor.load()
(outcome,) = predictor.predict([FileBytes(FileRef(sys.argv[2]), open(sys.argv[2], "rb").read())])
print(sorted(outcome))
"""

OTHER_USER = """
import os, sys
from transforms.predictors.local_copy import local_copy
from transforms import storage
list(storage.glob("gs://models/digits/*"))  # imports what lies where another user may not read
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(local_copy("gs://models/digits"))
"""


@dataclass(frozen=True)
class Bucket:
    """A bucket with a model of each kind, seen through what notes the downloads."""

    relay: StorageRelay
    client: Any

    def upload(self, name: str, content: bytes) -> None:
        self.client.bucket("models").blob(name).upload_from_string(content)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    folder = tmp_path_factory.mktemp("models")
    digits_model().save(folder / "digits.keras")
    write_digits(folder / "digits.tflite", "float32")
    with fake_gcs_server() as host, storage_client_of(host) as client, storage_relay(host) as relay:
        client.create_bucket("models")
        bucket = Bucket(relay, client)
        for path in MODEL.rglob("*"):
            for place in ("digits", "versions/1", "versions/2"):
                if path.is_file():
                    bucket.upload(f"{place}/{path.relative_to(MODEL)}", path.read_bytes())
        for name in ("digits.keras", "digits.tflite"):
            bucket.upload(name, (folder / name).read_bytes())
        with storage_client_of(relay.host):
            yield bucket


@pytest.fixture
def launcher(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Let this process be the launching machine, which shares no folder with the worker."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "launcher"))
    return bucket


def run(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def fetched(model: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    version = choose_version(model)
    return Path(keep_copy(find_model(version.path if version else model).path, folder))


def worker(bucket: Bucket, predictor: Any, folder: Path, cache: Path) -> tuple[str, list[str]]:
    """Predict in another process, and return what it printed and what it downloaded."""
    pickled = folder / "predictor"
    pickled.write_bytes(pickler.dumps(predictor))
    bucket.relay.downloads.clear()
    done = run(WORKER, pickled, IMAGES[0], **{CACHE_VARIABLE: str(cache), HOST_VARIABLE: bucket.relay.host})
    assert done.returncode == 0, done.stderr
    return done.stdout, bucket.relay.downloads


@pytest.mark.parametrize(
    ("model", "signature", "wishes"),
    [
        ("gs://models/digits", "from_bytes", None),
        ("gs://models/digits", "from_images", None),  # with the model's own preprocessing before it
        ("gs://models/versions", "from_bytes", None),
        ("gs://models/digits.keras", "serving_default", PREPROCESSED),
        ("gs://models/digits.tflite", "serving_default", PREPROCESSED),
    ],
)
def test_a_worker_with_a_copy_downloads_nothing(
    launcher: Bucket, tmp_path: Path, model: str, signature: str, wishes: Wishes | None
) -> None:
    cache = tmp_path / "models"
    fetched(model, cache)
    opened = VersionedModel(model, lambda path: open_model(path, signature, wishes)).open(
        choose_version(model)
    )
    printed, downloads = worker(launcher, opened, tmp_path, cache)
    assert "label" in printed or "probabilit" in printed, printed
    assert downloads == []


def test_a_worker_without_one_downloads_each_file_once(launcher: Bucket, tmp_path: Path) -> None:
    predictor = open_model("gs://models/digits", "from_bytes")
    _, downloads = worker(launcher, predictor, tmp_path, tmp_path / "empty")
    files = {f"digits/{path.relative_to(MODEL)}" for path in MODEL.rglob("*") if path.is_file()}
    assert sorted(downloads) == sorted(files)


def test_a_model_that_has_changed_since_is_downloaded(launcher: Bucket, tmp_path: Path) -> None:
    cache = tmp_path / "models"
    before = fetched("gs://models/digits", cache)
    launcher.upload("digits/assets.extra/note", b"the same graph, and one file more")
    _, downloads = worker(launcher, open_model("gs://models/digits", "from_bytes"), tmp_path, cache)
    assert "digits/assets.extra/note" in downloads
    assert before.exists()


def test_a_worker_sees_that_the_model_changes_after_the_launch(launcher: Bucket, tmp_path: Path) -> None:
    predictor = open_model("gs://models/versions/2", "from_bytes")
    launcher.upload("versions/2/assets/words.txt", b"other words")
    with pytest.raises(ModelError, match="gs://models/versions/2 has changed since the start"):
        predictor.load()


@pytest.fixture
def shown_to_all() -> Iterator[Path]:
    """Make a folder into which other users may look, unlike into those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("mode", [0o555, 0o755])
def test_who_cannot_write_the_folder_uses_its_copies(launcher: Bucket, shown_to_all: Path, mode: int) -> None:
    if mode == 0o755 and os.getuid() != 0:
        pytest.skip("only root can make a folder that is root's")
    cache = shown_to_all / "models"
    copy = fetched("gs://models/digits", cache)
    cache.chmod(mode)
    launcher.relay.downloads.clear()
    done = run(OTHER_USER, **{CACHE_VARIABLE: str(cache), HOST_VARIABLE: launcher.relay.host})
    assert done.stdout.strip() == str(copy), done.stderr
    assert launcher.relay.downloads == []


def test_who_cannot_write_the_folder_makes_other_copies_elsewhere(
    launcher: Bucket, shown_to_all: Path
) -> None:
    cache, temporary = shown_to_all / "models", shown_to_all / "temporary"
    cache.mkdir()
    cache.chmod(0o555)
    temporary.mkdir()
    temporary.chmod(0o777)
    places = {CACHE_VARIABLE: str(cache), "TMPDIR": str(temporary), HOST_VARIABLE: launcher.relay.host}
    done = run(OTHER_USER, **places)
    assert Path(done.stdout.strip()).is_relative_to(temporary), done.stderr
    assert f"{CACHE_VARIABLE}={cache} has no copy of gs://models/digits as it is now" in done.stderr
    assert list(cache.iterdir()) == []


def test_the_launching_machine_finds_its_own_copy(launcher: Bucket) -> None:
    first = local_copy("gs://models/digits.keras")
    launcher.relay.downloads.clear()
    assert local_copy("gs://models/digits.keras") == first
    assert launcher.relay.downloads == []
