"""Keras files of every build, and what is wrong with the others."""

from __future__ import annotations

import importlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.errors import ModelError, PredictionError
from transforms.predictors import keras_file
from transforms.predictors.keras_file import KerasFunction, distinct
from transforms.predictors.tensorflow_runtime import import_tensorflow

ROOT = Path(__file__).parents[3]
DIGITS = str(ROOT / "examples/digits/model")


def import_keras() -> Any:
    import_tensorflow()  # quietly
    return importlib.import_module("keras")


def digits_model(*, with_labels: bool = True) -> Any:
    """Build the digits' network anew, with the weights of the example's SavedModel, and with its outputs.

    Without its labels, all of it are layers, which is all that an HDF5 file can hold.
    """
    keras, layers = import_keras(), import_keras().layers
    images = keras.Input((8, 8, 1), name="images")
    logits = images
    for number, filters in enumerate((24, 24, 48, 48)):
        suffix = f"_{number}" if number else ""
        logits = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv2d{suffix}")(logits)
        logits = layers.BatchNormalization(name=f"batch_normalization{suffix}")(logits)
        logits = layers.ReLU()(logits)
        logits = layers.MaxPooling2D()(logits) if number % 2 else logits
    logits = layers.Dense(10, name="dense")(layers.Flatten()(logits))
    scores = layers.Softmax(name="scores")(logits)
    outputs = {"scores": scores}
    if with_labels:
        label = keras.ops.cast(keras.ops.argmax(scores, axis=-1), "int64")
        outputs |= {"label": label, "probability": keras.ops.max(scores, axis=-1)}
    model = keras.Model(images, outputs, name="digits")
    trained = import_tensorflow().saved_model.load(DIGITS)  # which holds the variables
    variables = trained.signatures["from_images"].variables
    weights = {variable.name.removeprefix("network/").removesuffix(":0"): variable for variable in variables}
    for weight in model.weights:
        weight.assign(weights[weight.path.removeprefix("digits/")])
    return model


def _input(shape: tuple[int, ...] = (4,), name: str = "x", **how: Any) -> Any:
    return import_keras().Input(shape, name=name, **how)


def _sequential() -> Any:
    layers = import_keras().layers
    return import_keras().Sequential([_input(name="given"), layers.Dense(3), layers.Dense(2, name="made")])


def _sequential_without_input() -> Any:
    model = import_keras().Sequential([import_keras().layers.Dense(3, name="made")])
    model.build((None, 4))
    return model


def _lists() -> Any:
    image, number = _input((2, 2), "image"), _input((), "number", dtype="int64")
    scores = import_keras().layers.Dense(3, name="scores")(import_keras().layers.Flatten()(image))
    return import_keras().Model([image, number], [scores, number])


def _dictionaries() -> Any:
    image, number = _input((2, 2), "image"), _input((), "number", dtype="int64")
    scores = import_keras().layers.Dense(3)(import_keras().layers.Flatten()(image))
    return import_keras().Model(
        {"image": image, "number": number}, {"scores": scores, "number_again": number}
    )


def _nested() -> Any:
    x, times = _input(), import_keras().layers.Rescaling
    return import_keras().Model(x, {"group": {"one": times(1)(x), "more": [times(2)(x), times(3)(x)]}})


def _states() -> Any:
    x = _input((5, 4))
    return import_keras().Model(x, import_keras().layers.LSTM(3, return_state=True, name="lstm")(x))


def _fixed_batch() -> Any:
    x = import_keras().Input(batch_shape=(1, 4), name="x")
    return import_keras().Model(x, import_keras().layers.Dense(2, name="made")(x))


def _words() -> Any:
    x = _input((), "words", dtype="string")
    lookup = import_keras().layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot", name="made")
    return import_keras().Model(x, lookup(x))


def _mixed(policy: str) -> Any:
    x = _input()
    return import_keras().Model(x, import_keras().layers.Dense(2, name="made", dtype=policy)(x))


BUILDS: dict[str, tuple[Callable[[], Any], str, tuple[str, ...]]] = {
    "sequential": (_sequential, "(given: float32 [?, 4]) -> (made: float32 [?, 2])", ("made",)),
    "sequential, built without an input": (
        _sequential_without_input,
        "(input_layer: float32 [?, 4]) -> (made: float32 [?, 3])",
        ("made",),
    ),
    "lists": (
        _lists,
        "(image: float32 [?, 2, 2], number: int64 [?]) -> (number: int64 [?], scores: float32 [?, 3])",
        ("scores", "number"),
    ),
    "dictionaries": (
        _dictionaries,
        "(image: float32 [?, 2, 2], number: int64 [?]) -> (number_again: int64 [?], scores: float32 [?, 3])",
        ("number_again", "scores"),
    ),
    "nested": (
        _nested,
        "(x: float32 [?, 4]) -> (more: float32 [?, 4], more_1: float32 [?, 4], one: float32 [?, 4])",
        ("more", "more_1", "one"),
    ),
    "several outputs of a layer": (
        _states,
        "(x: float32 [?, 5, 4]) -> (lstm: float32 [?, 3], lstm_1: float32 [?, 3], lstm_2: float32 [?, 3])",
        ("lstm", "lstm_1", "lstm_2"),
    ),
    "batches of one": (_fixed_batch, "(x: float32 [?, 4]) -> (made: float32 [?, 2])", ("made",)),
    "strings": (_words, "(words: string [?]) -> (made: int64 [?, 3])", ("made",)),
    "half precision": (
        lambda: _mixed("mixed_float16"),
        "(x: float32 [?, 4]) -> (made: float16 [?, 2])",
        ("made",),
    ),
    "bfloat16": (
        lambda: _mixed("mixed_bfloat16"),
        "(x: float32 [?, 4]) -> (made: bfloat16 [?, 2])",
        ("made",),
    ),
}


def some_rows(function: KerasFunction, count: int) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(1)
    return {
        spec.name: np.array(["a", "b", "c"] * count, object)[:count]
        if spec.dtype == "string"
        else (random.random((count, *spec.item_shape)) * 9).astype(spec.dtype)  # type: ignore[misc]
        for spec in function.signature.inputs
    }


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("build", BUILDS)
def test_a_model_has_its_own_names_and_computes_what_it_computes(
    build: str, ending: str, tmp_path: Path
) -> None:
    make, signature, names = BUILDS[build]
    model, path = make(), tmp_path / f"model{ending}"
    model.save(path)
    function = KerasFunction(str(path))

    assert str(function.signature) == f"serving_default{signature}"

    function.load()
    rows = some_rows(function, 3)
    tensors = {name: import_tensorflow().constant(values) for name, values in rows.items()}
    given = tensors if build == "dictionaries" else list(tensors.values())
    flat = import_keras().tree.flatten(model(given if len(given) > 1 else given[0], training=False))
    found = function.call(rows)
    assert sorted(found) == sorted(names)
    for name, expected in zip(names, flat, strict=True):
        np.testing.assert_allclose(found[name], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_digits_are_recognized_as_by_the_saved_model(tmp_path: Path) -> None:
    digits_model().save(tmp_path / "digits.keras")
    function = KerasFunction(str(tmp_path / "digits.keras"))
    function.load()
    images = np.random.default_rng(0).random((7, 8, 8, 1), np.float32)

    bare = import_tensorflow().saved_model.load(DIGITS).signatures["from_images"](images=images)
    found = function.call({"images": images})

    assert found.keys() == bare.keys()
    for name, values in found.items():
        assert values.dtype == bare[name].numpy().dtype
        np.testing.assert_allclose(values, bare[name], atol=1e-5)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "small.keras"
    _sequential().save(path)
    return str(path)


def test_a_pickle_has_the_signature_and_not_the_model(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = KerasFunction(small)
    signature = function.signature
    function.load()
    pickled = pickle.dumps(function)
    monkeypatch.setattr(keras_file, "_load", None)  # the signature is not asked for again

    assert len(pickled) < 1_000
    assert pickle.loads(pickled).signature == signature  # noqa: S301


def test_batches_of_all_sizes_are_one_trace(small: str) -> None:
    function = KerasFunction(small)
    function.load()
    eight = some_rows(function, 8)["given"]

    together = function.call({"given": eight})["made"]

    for count in (1, 3, 8):
        np.testing.assert_allclose(
            function.call({"given": eight[:count]})["made"], together[:count], atol=1e-6
        )


def test_what_the_model_refuses_is_the_items_error(small: str) -> None:
    function = KerasFunction(small)
    function.load()

    with pytest.raises(Exception) as raised:  # noqa: PT011
        function.call({"given": np.zeros((1, 5), np.float32)})

    assert isinstance(function.item_error(raised.value), PredictionError)


def test_signatures_by_name_are_refused() -> None:
    with pytest.raises(ModelError, match="--signature from_bytes: a Keras file has no named signatures"):
        KerasFunction("model.keras", "from_bytes")


def _lambda() -> Any:
    x = _input()
    return import_keras().Model(x, import_keras().layers.Lambda(lambda t: t * 2)(x))


def _twice(tensor: Any) -> Any:
    return tensor * 2


def _lambda_of_a_function() -> Any:
    x = _input()
    return import_keras().Model(x, import_keras().layers.Lambda(_twice)(x))


def _own_layer() -> Any:
    class Own(import_keras().layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs + 1

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    x = _input()
    return import_keras().Model(x, Own()(x))


def _own_model() -> Any:
    class OwnModel(import_keras().Model):  # type: ignore[misc]
        def __init__(self, **how: Any) -> None:
            super().__init__(**how)
            self.dense = import_keras().layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = OwnModel()
    model(np.zeros((1, 4), np.float32))
    return model


def _sparse_input() -> Any:
    x = _input(sparse=True)
    return import_keras().Model(x, import_keras().layers.Dense(2)(x))


MODELS_NOT_TAKEN: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a Lambda layer": (_lambda, ".keras", "has a Lambda layer.*model.export"),
    "a Lambda layer, HDF5": (_lambda, ".h5", "has a Lambda layer.*model.export"),
    "a Lambda layer of a function": (
        _lambda_of_a_function,
        ".keras",
        "needs the function '_twice'.*model.export",
    ),
    "a layer of its own": (_own_layer, ".keras", "needs the class 'Own', which is not part of Keras"),
    "a layer of its own, HDF5": (_own_layer, ".h5", "needs the layer 'Own'.*save it as NAME.keras"),
    "a model of its own": (_own_model, ".keras", "needs the class 'OwnModel'"),
    "a sparse input": (_sparse_input, ".keras", "input 'x' is sparse or ragged"),
    "no input": (
        lambda: import_keras().Sequential([import_keras().layers.Dense(2)]),
        ".keras",
        "does not tell its inputs",
    ),
}


@pytest.mark.parametrize("kind", MODELS_NOT_TAKEN)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_that_keras_cannot_load_says_what_to_do(kind: str, tmp_path: Path) -> None:
    make, ending, words = MODELS_NOT_TAKEN[kind]
    path = tmp_path / f"model{ending}"
    make().save(path)

    with pytest.raises(ModelError, match=words) as raised:
        _ = KerasFunction(str(path)).signature

    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def _archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _members(path: str) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


FilesOf = Callable[[str, Path], None]
FILES_NOT_TAKEN: dict[str, tuple[str, FilesOf, str]] = {
    "nothing there": (".keras", lambda _, path: None, "cannot be read: No such file"),
    "an empty file": (".keras", lambda _, path: path.touch(), "is not a Keras file, or is cut off"),
    "text": (
        ".keras",
        lambda _, path: path.write_text("hello") and None,
        "is not a Keras file, or is cut off",
    ),
    "text, HDF5": (".h5", lambda _, path: path.write_text("hello") and None, "is not an HDF5 file"),
    "cut off": (
        ".keras",
        lambda small, path: path.write_bytes(Path(small).read_bytes()[:5_000]) and None,
        "is not a Keras file, or is cut off",
    ),
    "another zip archive": (
        ".keras",
        lambda _, path: _archive(path, {"a.txt": b"a"}),
        "a zip archive without config.json",
    ),
    "no weights": (
        ".keras",
        lambda small, path: _archive(
            path, {name: content for name, content in _members(small).items() if "weights" not in name}
        ),
        "cannot be loaded: Expected a model.weights.h5",
    ),
    "weights cut off": (
        ".keras",
        lambda small, path: _archive(
            path, _members(small) | {"model.weights.h5": _members(small)["model.weights.h5"][:5_000]}
        ),
        "cannot be loaded: .*truncated file",
    ),
    "an archive that unpacks to much": (
        ".keras",
        lambda small, path: _archive(
            path, _members(small) | {"more": bytes(300 << 20)}, zipfile.ZIP_DEFLATED
        ),
        "claims to unpack to 314,",
    ),
}


@pytest.mark.parametrize("kind", FILES_NOT_TAKEN)
def test_a_file_that_is_no_model_is_refused(kind: str, small: str, tmp_path: Path) -> None:
    ending, write, words = FILES_NOT_TAKEN[kind]
    path = tmp_path / f"model{ending}"
    write(small, path)

    with pytest.raises(ModelError, match=words):
        _ = KerasFunction(str(path)).signature


def test_weights_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    _sequential().save_weights(path)

    with pytest.raises(ModelError, match="holds weights without a model"):
        _ = KerasFunction(str(path)).signature


def test_an_hdf5_file_by_the_name_of_the_newer_format_is_told(tmp_path: Path) -> None:
    _sequential().save(tmp_path / "model.h5")
    (tmp_path / "model.h5").rename(tmp_path / "model.keras")

    with pytest.raises(ModelError, match=r"is an HDF5 file, as Keras 2 wrote them: name it \.h5"):
        _ = KerasFunction(str(tmp_path / "model.keras")).signature


def test_another_backend_is_refused(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_keras().backend, "backend", lambda: "jax")

    with pytest.raises(ModelError, match="Keras runs on jax here; set KERAS_BACKEND=tensorflow"):
        _ = KerasFunction(small).signature


def test_names_that_occur_again_are_numbered() -> None:
    assert distinct(["a", "b", "a", "a_1", "a"]) == ["a", "b", "a_1", "a_1_1", "a_2"]
