"""Which version of a model is used, and when one is complete."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of
from tests.transforms.versioned_models import (
    ASSET,
    INDEX,
    SAVED_MODEL,
    WEIGHTS,
    items,
    publish,
    saved,
    versioned,
)
from transforms.errors import ModelError
from transforms.predictors.checkpoint_files import shard_sizes
from transforms.predictors.polling import PolledPredictor, open_newest
from transforms.predictors.saved_model_files import fingerprint
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.predictors.versions import choose_version, find_versions


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder for versions; there are none in it."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def chosen(models: Path, number: int | None = None) -> int | None:
    version = choose_version(str(models), number)
    return None if version is None else version.number


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


class TestChoice:
    def test_the_newest_is_the_one_with_the_highest_number(self, models: Path) -> None:
        for number in (9, 20240131, 10):
            publish(models, number)
        assert [version.number for version in find_versions(str(models))] == [20240131, 10, 9]
        assert chosen(models) == 20240131

    def test_folders_that_are_no_numbers_are_no_versions(self, models: Path) -> None:
        publish(models, 1)
        for number, name in ((2, "2.old"), (3, "best"), (4, "-4"), (5, "\N{ARABIC-INDIC DIGIT FIVE}")):
            publish(models, number, name)
        (models / "7").write_bytes(b"a file")
        assert chosen(models) == 1

    def test_leading_zeros_count_for_nothing(self, models: Path) -> None:
        publish(models, 9)
        publish(models, 10, "0010")
        version = choose_version(str(models))
        assert version is not None
        assert (version.number, version.path) == (10, f"{models}/0010")

    def test_the_predictor_names_the_folder_and_the_number(self, models: Path) -> None:
        publish(models, 3)
        predictor = open_newest(versioned(models))
        predictor.load()
        (outputs,) = predictor.predict(items(b"1234"))
        assert (predictor.model, predictor.model_version) == (str(models), "3")
        assert isinstance(outputs, dict)
        assert outputs["sum"] == 3004

    def test_a_model_without_versions_keeps_its_fingerprint(self, tmp_path: Path) -> None:
        model = publish(tmp_path, 1, "model")
        publish(model, 2)  # a folder of numbers in a model is no version of it
        predictor = open_newest(versioned(model))
        assert (predictor.model, predictor.model_version) == (str(model), fingerprint(str(model)))

    @pytest.mark.parametrize("name", ["a.tflite", "a.keras", "a.h5"])
    def test_a_folder_with_a_model_file_has_no_versions(self, models: Path, name: str) -> None:
        (models / "2024").mkdir()
        (models / name).write_bytes(b"content")
        assert chosen(models) is None

    def test_a_folder_that_may_not_be_listed_says_so(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied(path: str) -> Any:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "scandir", denied)  # the tests' user may be root, who may do all
        with pytest.raises(ModelError, match=f"--model {models}: {models}.* may not be read"):
            choose_version(str(models))
        with pytest.raises(
            ModelError, match=f"--model {models} cannot be listed: Permission denied; let the"
        ):
            find_versions(str(models))

    def test_a_pinned_version_is_used_whatever_is_newer(self, models: Path) -> None:
        publish(models, 1)
        publish(models, 2)
        assert open_newest(versioned(models), 1).model_version == "1"

    def test_a_pinned_version_that_is_missing_lists_those_that_there_are(self, models: Path) -> None:
        publish(models, 1)
        publish(models, 12)
        with pytest.raises(ModelError, match=r"--model_version 3: .*models has the versions 1, 12"):
            open_newest(versioned(models), 3)

    def test_a_pinned_version_of_a_model_without_versions(self, tmp_path: Path) -> None:
        model = publish(tmp_path, 1, "model")
        with pytest.raises(ModelError, match="has no versions, that is folders named 1, 2"):
            open_newest(versioned(model), 3)

    def test_a_pinned_version_that_is_not_complete(self, models: Path) -> None:
        publish(models, 1)
        (publish(models, 2) / WEIGHTS).unlink()
        with pytest.raises(ModelError, match=f"has no complete version:\n    2: {WEIGHTS} is missing"):
            open_newest(versioned(models), 2)

    def test_no_complete_version_tells_why_of_each(self, models: Path) -> None:
        (publish(models, 1) / INDEX).unlink()
        (models / "2").mkdir()
        with pytest.raises(ModelError) as caught:
            open_newest(versioned(models))
        assert str(caught.value).splitlines()[1:] == [
            "    2: it holds no model",
            f"    1: {INDEX} is missing",
        ]

    def test_a_folder_of_nothing_is_refused_as_a_model(self, models: Path) -> None:
        with pytest.raises(ModelError, match=f"--model {models}"):
            open_newest(versioned(models))

    def test_a_version_may_be_a_link_to_a_folder_elsewhere(self, models: Path) -> None:
        (models / "5").symlink_to(saved(5))
        assert chosen(models) == 5

    def test_a_name_with_wildcards_stands_for_itself(self, tmp_path: Path) -> None:
        models = tmp_path / "models [v*]?"
        publish(models, 4)
        publish(tmp_path / "models v", 5)
        assert chosen(models) == 4

    def test_a_pinned_version_is_not_polled_for(self, models: Path) -> None:
        publish(models, 1)
        with pytest.raises(ModelError, match="--model_version 1 stays what it is"):
            open_newest(versioned(models), 1, 5)

    def test_newer_versions_are_looked_for_only_when_it_is_asked_for(self, models: Path) -> None:
        publish(models, 1)
        assert not isinstance(open_newest(versioned(models)), PolledPredictor)
        assert isinstance(open_newest(versioned(models), poll_seconds=5), PolledPredictor)

    def test_a_model_without_versions_is_not_polled_for(self, tmp_path: Path) -> None:
        model = publish(tmp_path, 1, "model")
        with pytest.raises(ModelError, match=r"--model_poll_interval: .*has no versions"):
            open_newest(versioned(model), poll_seconds=5)


HALVES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no graph": (lambda folder: (folder / SAVED_MODEL).unlink(), "it holds no model"),
    "an empty graph": (lambda folder: cut(folder / SAVED_MODEL, 0), "no graph that is tagged 'serve'"),
    "half a graph": (lambda folder: cut(folder / SAVED_MODEL, 999), "saved_model.pb is cut off"),
    "no index": (lambda folder: (folder / INDEX).unlink(), f"{INDEX} is missing"),
    "an empty index": (lambda folder: cut(folder / INDEX, 0), f"{INDEX}: it does not end as an index"),
    "half an index": (lambda folder: cut(folder / INDEX, 99), f"{INDEX}: it does not end as an index"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS} is missing"),
    "half the weights": (lambda folder: cut(folder / WEIGHTS, 999), f"{WEIGHTS} has 999 of its 40"),
    "no vocabulary": (lambda folder: (folder / ASSET).unlink(), f"{ASSET} is missing"),
}


class TestCompleteness:
    @pytest.mark.parametrize(("damage", "reason"), HALVES.values(), ids=HALVES)
    def test_a_half_copied_version_is_not_taken(
        self, models: Path, damage: Callable[[Path], object], reason: str
    ) -> None:
        publish(models, 1)
        damage(publish(models, 2))
        assert chosen(models) == 1
        problem = find_versions(str(models))[0].incompleteness()
        assert problem is not None
        assert reason in problem

    def test_it_is_complete_with_its_last_byte_in_whatever_order_it_is_copied(self, models: Path) -> None:
        source, target = saved(1), models / "1"
        files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
        needed = [file for file in files if file.name != "fingerprint.pb"]
        for last in needed:
            for file in files:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                (target / file).write_bytes((source / file).read_bytes())
            if (source / last).name != Path(ASSET).name:  # a text may end anywhere
                cut(target / last, (source / last).stat().st_size - 1)
                assert find_versions(str(models))[0].incompleteness() is not None
            (target / last).write_bytes((source / last).read_bytes())
            assert find_versions(str(models))[0].incompleteness() is None

    def test_a_keras_file_ends_as_an_archive_does(self, models: Path) -> None:
        file = models / "1" / "model.keras"
        file.parent.mkdir()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("config.json", "{}")
        (version,) = find_versions(str(models))
        assert (version.incompleteness(), version.path) == (None, str(file))
        cut(file, 40)
        assert find_versions(str(models))[0].incompleteness() == f"{file} is cut off"

    @pytest.mark.parametrize("name", ["model.tflite", "model.h5"])
    def test_another_single_file_must_not_be_empty(self, models: Path, name: str) -> None:
        file = models / "1" / name
        file.parent.mkdir()
        file.write_bytes(b"")
        assert find_versions(str(models))[0].incompleteness() == f"{file} is empty"
        file.write_bytes(b"content")
        (version,) = find_versions(str(models))
        assert (version.incompleteness(), version.path) == (None, str(file))

    def test_two_files_in_a_version_are_one_too_many(self, models: Path) -> None:
        publish(models, 1)
        (models / "2").mkdir()
        for name in ("b.tflite", "a.keras"):
            (models / "2" / name).write_bytes(b"x")
        assert find_versions(str(models))[0].incompleteness() == "it holds 2 models (a.keras, b.tflite)"
        assert chosen(models) == 1

    def test_a_file_beside_a_saved_model_is_no_concern(self, models: Path) -> None:
        (publish(models, 1) / "model.tflite").write_bytes(b"x")
        version = choose_version(str(models))
        assert version is not None
        assert version.path == f"{models}/1"

    def test_a_model_without_variables_needs_none(self, models: Path) -> None:
        tf = import_tensorflow()
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:  # newer ones always have an index
            numbers = tf.compat.v1.placeholder(tf.float32, [None], name="x")
            tf.compat.v1.saved_model.simple_save(
                session, str(models / "1"), {"x": numbers}, {"y": numbers * 2}
            )
        assert not (models / "1" / INDEX).exists()
        assert chosen(models) == 1


class TestIndex:
    def test_it_tells_the_size_of_each_of_several_files(self, tmp_path: Path) -> None:
        tf = import_tensorflow()
        parts = [str(tmp_path / f"part-{number}") for number in range(3)]
        for number, part in enumerate(parts):
            names = [f"tensor-{number}-{place:04}" for place in range(500)]  # more than one block of names
            tensors = [tf.ones(number + 1)] * len(names)
            tf.raw_ops.SaveV2(
                prefix=part, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
            )
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=parts, destination_prefix=str(tmp_path / "variables")
        )
        sizes = shard_sizes((tmp_path / "variables.index").read_bytes())
        assert sizes == {f"data-0000{part}-of-00003": 500 * 4 * (part + 1) for part in range(3)}
        for ending, size in sizes.items():
            assert (tmp_path / f"variables.{ending}").stat().st_size == size

    def test_no_beginning_of_it_passes_for_the_whole(self) -> None:
        index = (saved(1) / INDEX).read_bytes()
        for size in range(len(index)):
            with pytest.raises(ValueError, match="it "):
                shard_sizes(index[:size])

    def test_a_number_of_files_that_no_model_has_is_refused(self) -> None:
        with pytest.raises(ValueError, match="so many files"):
            shard_sizes(index_of({b"": b"\x08\x80\x89\x7a"}))  # 2,000,000
        with pytest.raises(ValueError, match="so many files"):
            shard_sizes(index_of({b"": b"\x08\x02", b"x": b"\x18\x02"}))  # the third of two

    def test_many_files_cost_only_what_is_in_them(self) -> None:
        index = index_of({b"": b"\x08\xa0\x8d\x06", b"x": b"\x18\x03\x28\x07"})
        assert shard_sizes(index) == {"data-00003-of-100000": 7}


def index_of(entries: dict[bytes, bytes]) -> bytes:
    """Write a table of few short entries, each with its whole key."""

    def block(pairs: dict[bytes, bytes]) -> bytes:
        written = b"".join(bytes([0, len(key), len(value)]) + key + value for key, value in pairs.items())
        return written + bytes(4) + b"\1\0\0\0"

    data = block(entries)
    start = len(data) + 5  # its kind and its checksum
    blocks = block({b"last": bytes([0, len(data)])})
    footer = bytes([0, 0, start, len(blocks)]).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    return data + bytes(5) + blocks + bytes(5) + footer


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """Yield a bucket on a real Cloud Storage server."""
    with fake_gcs_server() as host, storage_client_of(host) as client:
        yield client.create_bucket("models")


def test_versions_in_cloud_storage(bucket: Any) -> None:
    for number in (1, 2, 10):
        for file in saved(number).rglob("*"):
            if file.is_file() and (number, file.name) != (10, Path(INDEX).name):
                name = f"digits/{number}/{file.relative_to(saved(number))}"
                bucket.blob(name).upload_from_filename(str(file))
    assert [version.number for version in find_versions("gs://models/digits")] == [10, 2, 1]
    version = choose_version("gs://models/digits")
    assert version is not None
    assert (version.number, version.path) == (2, "gs://models/digits/2")
    with pytest.raises(ModelError, match="has the versions 1, 2, 10"):
        choose_version("gs://models/digits/", 3)
