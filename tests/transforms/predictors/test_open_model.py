"""Each kind of model with each kind of input on the digits, against the bare model; and what is no model."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.transforms.predictors.test_keras_file import digits_model
from tests.transforms.predictors.test_tflite import QUANTIZED, digits_images, write_digits
from transforms import storage
from transforms.errors import DecodeError, ModelError
from transforms.predictors.base import Outcome
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import find_model, fingerprint_file, open_model
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef

ROOT = Path(__file__).parents[3]
DIGITS = str(ROOT / "examples/digits/model")
IMAGES = sorted((ROOT / "examples/digits/images").glob("*.png"))

PREPROCESSED = Wishes(preprocessing=Preprocessing.parse("scale=0..1,color=gray"))
ARRAYS = Wishes(kind="arrays")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the digits' model in every kind."""
    folder = tmp_path_factory.mktemp("models")
    digits_model().save(folder / "digits.keras")
    digits_model(with_labels=False).save(folder / "digits.h5")
    for how in QUANTIZED:
        write_digits(folder / f"{how}.tflite", how)
    return folder


@pytest.fixture(scope="module")
def bare() -> Any:
    """Call the bare model with the names of the images, all at once."""
    predict = import_tensorflow().saved_model.load(DIGITS).signatures["serving_default"]
    outputs = predict(filenames=import_tensorflow().constant([str(path) for path in IMAGES]))
    return {name: values.numpy() for name, values in outputs.items()}


@pytest.fixture(scope="module")
def arrays() -> Sequence[bytes]:
    """Return each image as the model takes it, as a `.npy` file."""
    files = []
    for image in digits_images():
        files.append(io.BytesIO())
        np.save(files[-1], image)
    return [file.getvalue() for file in files]


class Case(NamedTuple):
    """A model, how it is fed, and how far its scores may be from those of the bare model."""

    model: str
    signature: str
    wishes: Wishes
    kind: str
    bound: float = 1e-5


CASES = [
    Case("saved model", "serving_default", Wishes(), "names"),
    Case("saved model", "from_bytes", Wishes(), "bytes"),
    Case("saved model", "from_images", Wishes(), "bytes"),  # by its `preprocess` signature
    Case("saved model", "from_images", PREPROCESSED, "images"),
    Case("saved model", "from_images", ARRAYS, "arrays"),
    *(
        Case(model, "serving_default", wishes, kind, bound)
        for model, bound in (
            ("digits.keras", 1e-5),
            ("digits.h5", 1e-5),
            *((f"{how}.tflite", bound) for how, (_, bound) in QUANTIZED.items()),
        )
        for wishes, kind in ((PREPROCESSED, "images"), (ARRAYS, "arrays"))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.signature}-{case.kind}")
def test_every_kind_of_model_agrees_with_the_bare_one_on_every_kind_of_input(
    case: Case, models: Path, arrays: Sequence[bytes], bare: Any
) -> None:
    path = DIGITS if case.model == "saved model" else str(models / case.model)
    opened = open_model(path, case.signature, case.wishes)
    predictor: LocalPredictor = pickle.loads(pickle.dumps(opened))  # noqa: S301
    predictor.load()
    predictor.warm_up(32)

    files = [path.read_bytes() for path in IMAGES]
    contents = {"names": [None] * len(IMAGES), "arrays": arrays}.get(case.kind, files)
    outcomes = list(_predict(predictor, contents))

    assert predictor.input_kind == case.kind
    scores = np.stack([outcome["scores"] for outcome in outcomes])
    np.testing.assert_allclose(scores, bare["scores"], atol=case.bound)
    np.testing.assert_array_equal(scores.argmax(1), bare["label"])
    if "label" in outcomes[0]:
        assert [outcome["label"] for outcome in outcomes] == bare["label"].tolist()


def _predict(predictor: LocalPredictor, contents: Sequence[bytes | None]) -> Iterator[Any]:
    files = [FileBytes(FileRef(str(path)), content) for path, content in zip(IMAGES, contents, strict=True)]
    for start in range(0, len(files), 32):
        for outcome in predictor.predict(files[start : start + 32]):
            assert isinstance(outcome, dict), outcome
            yield outcome


@pytest.mark.parametrize("model", ["digits.keras", "float32.tflite"])
def test_a_bad_image_costs_only_itself(model: str, models: Path, bare: Any) -> None:
    predictor = open_model(str(models / model), wishes=PREPROCESSED)
    predictor.load()
    contents = [IMAGES[0].read_bytes(), b"no image", IMAGES[1].read_bytes()]

    first, second, third = predictor.predict(
        [FileBytes(FileRef(str(number)), content) for number, content in enumerate(contents)]
    )

    assert isinstance(second, DecodeError)
    assert [_label(first), _label(third)] == bare["label"][:2].tolist()


def _label(outcome: Outcome) -> int:
    assert isinstance(outcome, dict), outcome
    return int(outcome["label"])


def test_a_model_that_prepares_its_images_itself_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = open_model(DIGITS, "from_images")
    tf = import_tensorflow()
    load, loaded = tf.saved_model.load, []

    def noted(folder: str) -> Any:
        loaded.append(load(folder))
        return loaded[-1]

    monkeypatch.setattr(tf.saved_model, "load", noted)
    predictor.load()
    assert len(loaded) == 1
    reference = weakref.ref(loaded.pop())
    predictor.load()
    assert len(loaded) == 1
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("signature", ["from_bytes", "from_images"])
def test_a_loaded_copy_leaves_the_original_as_it_was(signature: str) -> None:
    predictor = open_model(DIGITS, signature)
    before = pickle.dumps(predictor)
    loaded = copy.copy(predictor)
    loaded.load()
    assert pickle.dumps(predictor) == before
    again: LocalPredictor = pickle.loads(pickle.dumps(loaded))  # noqa: S301
    again.load()
    item = FileBytes(FileRef("a"), IMAGES[0].read_bytes())
    assert _label(again.predict([item])[0]) == _label(loaded.predict([item])[0])


def test_the_same_content_is_the_same_version_wherever_it_lies(models: Path, tmp_path: Path) -> None:
    for name in ("digits.keras", "float32.tflite"):
        shutil.copy(models / name, tmp_path / name)
        version = open_model(str(tmp_path / name), wishes=PREPROCESSED).model_version

        assert version == open_model(str(models / name), wishes=PREPROCESSED).model_version
        assert len(version) == 16
        int(version, 16)
    assert fingerprint_file(str(models / "int8.tflite")) != fingerprint_file(str(models / "uint8.tflite"))


def test_a_folder_stands_for_the_one_model_in_it(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a [b] *"
    folder.mkdir()
    shutil.copy(models / "float32.tflite", folder / "digits.tflite")
    (folder / "README.md").write_text("the digits")

    predictor = open_model(str(folder), wishes=PREPROCESSED)

    assert predictor.model == str(folder)
    assert find_model(str(folder)).path == str(folder / "digits.tflite")


def test_a_saved_model_is_one_whatever_else_is_in_its_folder(tmp_path: Path) -> None:
    shutil.copytree(DIGITS, tmp_path / "model")
    (tmp_path / "model/old.keras").touch()

    assert find_model(str(tmp_path / "model")).kind.title == "SavedModel"


def _nothing(_: Path) -> None:
    pass


def _make(*names: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).touch()

    return make


NO_MODELS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "nothing there": (
        _nothing,
        "digits",
        "there is no file or folder of that name, or it is empty; give a folder",
    ),
    "an empty folder": (
        lambda folder: (folder / "m").mkdir(),
        "m",
        "there is no file or folder of that name",
    ),
    "another file": (
        _make("model.onnx"),
        "model.onnx",
        r"is no model; .* that ends in \.h5, \.hdf5, \.keras, \.tflite",
    ),
    "a folder of something else": (
        _make("m/a.txt"),
        "m",
        "is no model; give a folder that holds saved_model.pb",
    ),
    "two models": (_make("m/a.keras", "m/b.tflite"), "m", r"m holds 2 models, a\.keras, b\.tflite: give one"),
    "a part of a model": (
        _make("m/saved_model.pb"),
        "m/saved_model.pb",
        "only a part of a SavedModel: give the folder",
    ),
}


@pytest.mark.parametrize("kind", NO_MODELS)
def test_what_is_no_model_is_refused_and_says_what_is(kind: str, tmp_path: Path) -> None:
    make, name, words = NO_MODELS[kind]
    make(tmp_path)

    with pytest.raises(ModelError, match=words):
        open_model(str(tmp_path / name))


def test_a_folder_that_may_not_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", denied)  # the tests' user may be root, who may do all
    with pytest.raises(ModelError, match=f"--model {tmp_path} cannot be listed: Permission denied; let the"):
        open_model(str(tmp_path))


def test_a_model_elsewhere_is_read_through_storage(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for Cloud Storage: names that begin with `gs://models` are files in a folder."""

    def local(uri: str) -> str:
        return uri.replace("gs://models", str(models))

    def listed(pattern: str) -> Iterator[FileRef]:
        assert pattern == "gs://models/one/*"
        yield FileRef("gs://models/one/float32.tflite")

    (models / "one").mkdir()
    shutil.copy(models / "float32.tflite", models / "one")
    stat = storage.stat
    monkeypatch.setattr(storage, "stat", lambda uri: stat(local(uri)))
    monkeypatch.setattr(storage, "glob", listed)
    monkeypatch.setattr("transforms.predictors.keras_file.local_copy", local)

    for name in ("gs://models/digits.keras", "gs://models/float32.tflite", "gs://models/one"):
        predictor = open_model(name, wishes=PREPROCESSED)
        predictor.load()
        (outcome,) = predictor.predict([FileBytes(FileRef("a"), IMAGES[0].read_bytes())])

        assert predictor.model == name
        assert isinstance(outcome, dict)


def test_opening_a_tflite_model_imports_neither_tensorflow_nor_beam(models: Path) -> None:
    code = (
        "import sys\n"
        "from transforms.predictors.open_model import open_model, Wishes\n"
        f"open_model({str(models / 'float32.tflite')!r}, wishes=Wishes(kind='arrays'))\n"
        "print([name for name in ('tensorflow', 'keras', 'apache_beam') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")
