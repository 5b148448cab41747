"""A model that is swapped for its newer versions while it is used."""

from __future__ import annotations

import copy
import gc
import importlib
import logging
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from apache_beam.internal import pickler

from emulators.storage import fake_gcs_server, storage_client_of
from tests.transforms.versioned_models import (
    ASSET,
    STEP,
    WEIGHTS,
    items,
    publish,
    saved,
    versioned,
    wait_until,
)
from transforms.errors import ModelError, StorageUnavailable
from transforms.predictors.base import Predictor
from transforms.predictors.cache_folders import CACHE_VARIABLE
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import open_model
from transforms.predictors.polling import open_newest
from transforms.predictors.serving_model import Loaded, Refused, ServingModel, Swapped
from transforms.predictors.swapping_model import SwappingModel, serve
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.predictors.versions import VersionedModel
from transforms.records import FileBytes, FileRef

NEVER = 3_600.0
ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "examples" / "digits" / "model"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder of versions, of which there is the first."""
    publish(tmp_path / "models", 1)
    return tmp_path / "models"


def served(models: Path | VersionedModel, seconds: float = NEVER) -> SwappingModel:
    """Load the newest version of a model; looking for newer ones is left to the test."""
    model = serve(open_newest(versioned(models) if isinstance(models, Path) else models, None, seconds), 4)
    assert isinstance(model, SwappingModel)
    model.load()
    return model


def number(model: ServingModel) -> int:
    """Predict on an item, see that the version is the one that is told, and return it."""
    predictor = model.current()
    batch = items(b"12345")
    outcomes = predictor.predict(batch)
    model.observe(batch, outcomes)
    (outputs,) = outcomes
    assert isinstance(outputs, Mapping)
    assert outputs["sum"] == STEP * int(predictor.model_version) + 5
    return int(predictor.model_version)


def is_served(model: ServingModel, version: int) -> bool:
    return number(model) == version


class TestSwapping:
    def test_a_newer_version_is_taken_at_the_second_look(self, models: Path) -> None:
        model = served(models)
        publish(models, 2)
        assert not model.look()
        assert number(model) == 1
        assert model.look()
        assert number(model) == 2
        assert not model.look()
        assert [type(event) for event in model.events()] == [Loaded, Swapped]
        assert model.events() == []

    def test_files_that_change_between_two_looks_are_waited_for(self, models: Path) -> None:
        model = served(models)
        folder = publish(models, 2)
        for size in range(3):
            (folder / "notes.txt").write_bytes(b"x" * size)
            assert not model.look()
        assert model.look()
        assert number(model) == 2

    def test_the_newest_of_several_is_taken(self, models: Path) -> None:
        model = served(models)
        for version in (2, 10, 9):
            publish(models, version)
        assert [model.look(), model.look(), model.look()] == [False, True, False]
        assert number(model) == 10

    def test_an_older_one_is_not_taken(self, models: Path) -> None:
        publish(models, 5)
        model = served(models)
        publish(models, 4)
        shutil.rmtree(models / "5")
        assert not model.look()
        assert not model.look()
        assert number(model) == 5

    def test_a_half_copied_version_is_taken_when_it_is_whole(
        self, models: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = served(models)
        folder = publish(models, 2)
        (folder / WEIGHTS).rename(models / "weights")
        for _ in range(3):
            assert not model.look()
        assert [record.message for record in caplog.records] == [
            f"--model {models}: version 2 is not complete: {WEIGHTS} is missing"
        ]
        (models / "weights").rename(folder / WEIGHTS)
        assert [model.look(), model.look()] == [False, True]
        assert number(model) == 2
        assert [type(event) for event in model.events()] == [Loaded, Swapped]

    def test_the_next_best_is_taken_while_the_newest_is_incomplete(self, models: Path) -> None:
        model = served(models)
        publish(models, 2)
        (publish(models, 3) / WEIGHTS).unlink()
        assert [model.look(), model.look()] == [False, True]
        assert number(model) == 2

    def test_the_old_version_is_freed(self, models: Path) -> None:
        model = served(models)
        assert number(model) == 1
        loaded: Any = model.current()
        old = weakref.ref(loaded.function._loaded.weights)
        del loaded
        gc.disable()  # nothing else may do it
        try:
            publish(models, 2)
            assert [model.look(), model.look()] == [False, True]
            assert old() is None
        finally:
            gc.enable()

    def test_it_is_freed_when_its_last_batch_is_done(self, models: Path) -> None:
        model = served(models)
        publish(models, 2)
        model.look()
        held = [model.current()]
        function = weakref.ref(held[0].function)  # type: ignore[attr-defined]
        swapping = threading.Thread(target=model.look)
        swapping.start()
        wait_until(lambda: model.current().model_version == "2")
        assert swapping.is_alive()
        assert function() is not None
        held.clear()
        swapping.join(10)
        assert not swapping.is_alive()
        assert function() is None


class TestBrokenVersions:
    def broken(self, models: Path, number: int = 2) -> Path:
        """Publish a version that is complete, and whose weights are none."""
        folder = publish(models, number)
        weights = folder / WEIGHTS
        weights.write_bytes(b"?" * weights.stat().st_size)
        return folder

    def test_it_is_reported_once_and_the_old_one_goes_on(
        self, models: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = served(models)
        self.broken(models)
        for _ in range(4):
            assert not model.look()
        assert number(model) == 1
        (message,) = (record.message for record in caplog.records if record.levelno == logging.WARNING)
        assert message.startswith(f"--model {models}: version 2 is broken, and not used: --model {models}/2")
        assert model.events()[1:] == [Refused(2)]

    def test_it_is_tried_again_when_its_files_change(self, models: Path) -> None:
        model = served(models)
        folder = self.broken(models)
        for _ in range(3):
            model.look()
        shutil.copyfile(saved(2) / WEIGHTS, folder / WEIGHTS)
        assert [model.look(), model.look()] == [False, True]
        assert number(model) == 2
        assert model.events()[1:] == [Refused(2), Swapped(2)]

    def test_the_next_best_is_taken(self, models: Path) -> None:
        model = served(models)
        publish(models, 2)
        self.broken(models, 3)
        assert [model.look(), model.look()] == [False, True]
        assert number(model) == 2

    def test_another_signature_is_refused(self, models: Path, caplog: pytest.LogCaptureFixture) -> None:
        model = served(models)
        publish(models, 2, output="total")
        assert [model.look(), model.look()] == [False, False]
        assert number(model) == 1
        assert "its signature is serving_default(content: string [?]) -> (total: int64 [?])" in caplog.text
        assert "the pipeline was started with serving_default(content: string [?]) -> (sum" in caplog.text

    @pytest.mark.parametrize(
        ("traits", "reason"),
        [
            (
                {"fails_on": b"12345"},
                "it fails on 0.bin, unlike the present one: assertion failed: [the content is bad]",
            ),
            ({"rows": False}, "its first dimension must be the batch's"),
        ],
    )
    def test_one_that_cannot_do_what_the_present_one_does_is_refused(
        self, models: Path, caplog: pytest.LogCaptureFixture, traits: dict[str, Any], reason: str
    ) -> None:
        model = served(models)
        assert number(model) == 1
        publish(models, 2, **traits)
        assert [model.look(), model.look()] == [False, False]
        assert number(model) == 1
        assert reason in caplog.text
        assert Refused(2) in model.events()

    def test_a_file_that_is_gone_is_no_versions_fault(self, models: Path) -> None:
        shutil.rmtree(models / "1")
        shutil.copytree(DIGITS, models / "1")  # it takes names
        model = served(models)
        model.observe([FileBytes(FileRef("gone.png"), None)], [{"label": 1}])
        shutil.copytree(DIGITS, models / "2")
        assert [model.look(), model.look()] == [False, True]

    def test_what_may_pass_is_tried_at_the_next_look(
        self, models: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        failures = iter([ModelError("no answer"), None])

        def opened(path: str) -> LocalPredictor:
            failure = next(failures, None) if path.endswith("2") else None
            if failure:
                raise failure from StorageUnavailable("no answer")
            return open_model(path)

        model = served(VersionedModel(str(models), opened))
        publish(models, 2)
        assert [model.look(), model.look(), model.look()] == [False, False, True]
        assert "version 2 cannot be had at present: no answer" in caplog.text
        assert [type(event) for event in model.events()] == [Loaded, Swapped]

    def test_a_folder_that_cannot_be_listed_is_reported_once(
        self, models: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = served(models)

        def fail(*_: object) -> Any:
            raise StorageUnavailable("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(VersionedModel, "newer_than", fail)
            assert [model.look(), model.look()] == [False, False]
        (message,) = (record.message for record in caplog.records)
        assert message == f"--model {models}: its versions cannot be listed: no answer"
        assert number(model) == 1


class TestInterface:
    """What two versions must have in common, of models that are made twice in one process."""

    def keras(self, models: Path, number: int, units: int = 2) -> None:
        import_tensorflow()
        keras = importlib.import_module("keras")
        image = keras.Input((4,))
        folder = models / str(number)
        folder.mkdir(parents=True)
        layers = keras.layers
        keras.Model(image, layers.Dense(units)(layers.Dense(3)(image))).save(folder / "model.keras")

    def saved_model(self, models: Path, number: int, item: str, other: str = "number") -> None:
        tf = import_tensorflow()

        def add(**inputs: Any) -> Any:
            return {"sum": tf.strings.length(inputs[item]) + inputs[other]}

        specs = {
            item: tf.TensorSpec((None,), tf.string, item),
            other: tf.TensorSpec((None,), tf.int32, other),
        }
        signature = tf.function(add).get_concrete_function(**specs)
        tf.saved_model.save(tf.Module(), str(models / str(number)), signatures={"serving_default": signature})

    def opened(self, models: Path) -> VersionedModel:
        return VersionedModel(str(models), partial(open_model, wishes=Wishes(kind="arrays")))

    def test_the_same_keras_model_made_again(self, tmp_path: Path) -> None:
        self.keras(tmp_path, 1)
        model = served(self.opened(tmp_path))
        self.keras(tmp_path, 2)
        assert [model.look(), model.look()] == [False, True]

    def test_a_keras_model_with_other_outputs(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.keras(tmp_path, 1)
        model = served(self.opened(tmp_path))
        self.keras(tmp_path, 2, units=5)
        assert [model.look(), model.look()] == [False, False]
        assert "float32 [?, 4]) -> (dense: float32 [?, 5]); the pipeline was started with" in caplog.text

    def test_the_input_of_the_item_may_have_another_name(self, tmp_path: Path) -> None:
        wishes = Wishes(kind="bytes")
        self.saved_model(tmp_path, 1, "keras_tensor")
        model = served(VersionedModel(str(tmp_path), partial(open_model, wishes=wishes)))
        self.saved_model(tmp_path, 2, "keras_tensor_7")
        assert [model.look(), model.look()] == [False, True]

    def test_another_input_may_not(self, tmp_path: Path) -> None:
        self.saved_model(tmp_path, 1, "content")
        model = served(VersionedModel(str(tmp_path), open_model))
        self.saved_model(tmp_path, 2, "content", other="count")
        assert [model.look(), model.look()] == [False, False]

    def test_another_kind_of_input_is_refused(self, models: Path, caplog: pytest.LogCaptureFixture) -> None:
        def opened(path: str) -> LocalPredictor:
            return open_model(path, wishes=Wishes(kind="names" if path.endswith("2") else "bytes"))

        model = served(VersionedModel(str(models), opened))
        publish(models, 2)
        assert [model.look(), model.look()] == [False, False]
        assert "its input_kind is names; the pipeline was started with bytes" in caplog.text


class TestLoading:
    def started(self, predictor: Predictor) -> SwappingModel:
        model = serve(pickler.loads(pickler.dumps(predictor)), 4)
        assert isinstance(model, SwappingModel)
        model.load()
        return model

    def test_a_newer_one_than_at_launch_is_taken_at_the_next_look(self, models: Path) -> None:
        predictor = open_newest(versioned(models), poll_seconds=NEVER)
        publish(models, 2)
        model = self.started(predictor)
        assert number(model) == 1
        assert model.look()
        assert number(model) == 2

    def test_one_that_is_copied_while_a_worker_starts_is_waited_for(self, models: Path) -> None:
        predictor = open_newest(versioned(models), poll_seconds=NEVER)
        asset = publish(models, 2) / ASSET
        asset.write_text("on")
        model = self.started(predictor)
        asset.write_text("one\n")
        assert [model.look(), model.look()] == [False, True]

    def test_where_that_of_the_launch_is_gone_the_next_newer_that_works_is_taken(self, models: Path) -> None:
        predictor = open_newest(versioned(models), poll_seconds=NEVER)
        shutil.rmtree(models / "1")
        TestBrokenVersions().broken(models, 2)
        (publish(models, 3) / WEIGHTS).unlink()
        publish(models, 5)
        publish(models, 4)
        model = self.started(predictor)
        assert number(model) == 4
        assert [type(event) for event in model.events()] == [Refused, Loaded]
        assert model.look()
        assert number(model) == 5

    def test_one_that_has_changed_since_the_launch_is_not_taken(
        self, models: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        publish(models, 2)
        predictor = open_newest(versioned(models), poll_seconds=NEVER)
        shutil.rmtree(models / "2")
        publish(models, 7, "2")
        assert number(self.started(predictor)) == 1
        assert "version 2 is broken, and not used" in caplog.text
        assert "has changed since the start" in caplog.text

    def test_what_the_pipeline_holds_stays_unloaded(self, models: Path) -> None:
        predictor = open_newest(versioned(models), poll_seconds=NEVER)
        serve(predictor, 4).load()
        copy.copy(predictor).load()
        assert len(pickler.dumps(predictor)) < 10_000

    def test_without_any_it_tells_why(self, models: Path) -> None:
        predictor = open_newest(versioned(models), poll_seconds=NEVER)
        shutil.rmtree(models / "1")
        (publish(models, 2) / WEIGHTS).unlink()
        with pytest.raises(ModelError, match=r"no version that works:\n    version 2: is not complete"):
            serve(predictor, 4).load()

    def test_it_must_come_first(self, models: Path) -> None:
        with pytest.raises(RuntimeError, match="load"):
            serve(open_model(str(saved(1))), 4).current()

    def test_a_single_version_is_served_as_it_is(self) -> None:
        model = serve(open_model(str(saved(1))), 4)
        model.load()
        assert model.current().model_version == open_model(str(saved(1))).model_version
        assert model.watch() is None
        assert [type(event) for event in model.events()] == [Loaded]


LOOKING_AT_THE_END = """
import atexit, sys, threading
from pathlib import Path
from tests.transforms.versioned_models import versioned
from transforms.predictors.polling import open_newest
from transforms.predictors.swapping_model import serve
from transforms.predictors.tensorflow_runtime import import_tensorflow

tf = import_tensorflow()
began, ends = threading.Event(), threading.Event()

def look():
    began.set()
    ends.wait()
    for _ in range(2_000):  # much work that lets go of the interpreter
        tf.linalg.matmul(tf.ones((200, 200)), tf.ones((200, 200))).numpy()
    print("looked")

model = serve(open_newest(versioned(Path(sys.argv[1])), poll_seconds=0.01), 4)
model.load()
model.look = look
watch = model.watch()
began.wait()
atexit.register(ends.set)
"""


def threads() -> int:
    """Count the threads that look for versions."""
    return [thread.name for thread in threading.enumerate()].count("model versions")


def upload(client: Any, number: int) -> None:
    for file in saved(number).rglob("*"):
        if file.is_file():
            blob = client.bucket("models").blob(f"sums/{number}/{file.relative_to(saved(number))}")
            blob.upload_from_filename(str(file))


def test_newer_versions_come_from_cloud_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with fake_gcs_server() as host, storage_client_of(host) as client:
        client.create_bucket("models")
        upload(client, 1)
        model = served(VersionedModel("gs://models/sums", open_model))
        assert number(model) == 1
        upload(client, 2)
        assert [model.look(), model.look()] == [False, True]
        assert number(model) == 2
    assert (model.current().model, model.current().model_version) == ("gs://models/sums", "2")
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


class TestWatching:
    @pytest.fixture(autouse=True)
    def _others_have_ended(self) -> None:
        wait_until(lambda: threads() == 0)

    def test_newer_versions_are_found_without_being_asked_for(self, models: Path) -> None:
        model = served(models, 0.05)
        watch = model.watch()
        for version in (2, 3):
            publish(models, version)
            wait_until(partial(is_served, model, version))
        del watch

    def test_the_thread_ends_with_the_last_who_watches(self, models: Path) -> None:
        model = served(models)
        watches = [model.watch() for _ in range(3)]
        assert threads() == 1
        watches.pop()
        assert threads() == 1
        watches.clear()
        wait_until(lambda: threads() == 0)
        watches.append(model.watch())
        assert threads() == 1

    def test_one_thread_looks_at_a_time(self, models: Path) -> None:
        began, go_on = threading.Event(), threading.Event()

        def opened(path: str) -> LocalPredictor:
            if path.endswith("2") and not began.is_set():
                began.set()
                go_on.wait()
            return open_model(path)

        model = served(VersionedModel(str(models), opened))
        publish(models, 2)
        model.look()
        looking = threading.Thread(target=model.look, daemon=True)
        looking.start()
        began.wait()
        assert not model.look()
        go_on.set()
        looking.join()
        assert [type(event) for event in model.events()] == [Loaded, Swapped]

    def test_the_process_ends_when_a_look_has(self, models: Path) -> None:
        publish(models, 2)
        done = subprocess.run(
            [sys.executable, "-c", LOOKING_AT_THE_END, str(models)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "looked\n"), done.stderr

    def test_the_thread_keeps_no_model(self, models: Path) -> None:
        model = served(models, 0.01)
        watch = model.watch()
        reference = weakref.ref(model)
        del model
        wait_until(lambda: reference() is None)
        wait_until(lambda: threads() == 0)
        del watch
