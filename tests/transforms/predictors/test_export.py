"""Keras models exported with their preprocessing, and predicted with in every way there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pipeline.cli import main
from transforms.errors import DecodeError, FileMissing, ModelError
from transforms.predictors.base import TensorSpec
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.export import decode_and_resize, export_model
from transforms.predictors.images import ImagePreparation
from transforms.predictors.open_model import open_model
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.saved_model_files import read_signatures
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef, Outputs

ROOT = Path(__file__).parents[3]
IMAGES = sorted((ROOT / "examples/digits/images").glob("*.png"))[:20]
PAGE = (ROOT / "docs/models.md").read_text()
PREPROCESSING = Preprocessing.parse("scale=0..1,color=gray")

TINY = """
import keras
from transforms.predictors.export import decode_and_resize, export_model
network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
export_model(network, decode_and_resize(8, color="gray"), folder, scores="logits")
"""


@pytest.fixture(scope="module")
def keras() -> Any:
    return import_tensorflow().keras


@pytest.fixture(scope="module")
def network(keras: Any) -> Any:
    return _network(keras, keras.layers.Dense(10, activation="softmax"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Export a model as a user does."""
    folder = str(tmp_path_factory.mktemp("models") / "tiny")
    exec(TINY, {"folder": folder})  # noqa: S102
    return folder


def _network(keras: Any, *last: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *last])


def _files(paths: Sequence[Path], *, with_content: bool) -> list[FileBytes]:
    return [FileBytes(FileRef(str(path)), path.read_bytes() if with_content else None) for path in paths]


def _predict(model: str, signature: str, paths: Sequence[Path], wishes: Wishes | None = None) -> list[Any]:
    predictor = open_model(model, signature, wishes)
    predictor.load()
    return list(predictor.predict(_files(paths, with_content=predictor.input_kind != "names")))


def _assert_equal(found: Sequence[Outputs], expected: Sequence[Outputs]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-6)


def test_a_classifier_is_exported_in_a_few_lines_with_four_signatures(exported: str) -> None:
    assert len(TINY.strip().splitlines()) <= 6
    outputs = "(label: int64 [?], probability: float32 [?], scores: float32 [?, 10])"
    assert [str(signature) for signature in read_signatures(exported).values()] == [
        f"from_bytes(image_bytes: string [?]) -> {outputs}",
        f"from_images(images: float32 [?, 8, 8, 1]) -> {outputs}",
        "preprocess(image_bytes: string [?]) -> (images: float32 [?, 8, 8, 1])",
        f"serving_default(filenames: string [?]) -> {outputs}",
    ]


def test_all_ways_in_give_the_same_outputs(exported: str, tmp_path: Path) -> None:
    expected = _predict(exported, "from_bytes", IMAGES)

    _assert_equal(_predict(exported, "serving_default", IMAGES), expected)
    _assert_equal(_predict(exported, "from_images", IMAGES), expected)
    by_flag = Wishes(preprocessing=PREPROCESSING)
    _assert_equal(_predict(exported, "from_images", IMAGES, by_flag), expected)
    arrays = [tmp_path / f"{path.stem}.npy" for path in IMAGES]
    preparation = ImagePreparation.of(PREPROCESSING, TensorSpec("images", "float32", (None, 8, 8, 1)))
    for path, image in zip(arrays, preparation.decode([path.read_bytes() for path in IMAGES]), strict=True):
        np.save(path, np.asarray(image))
    _assert_equal(_predict(exported, "from_images", arrays, Wishes(kind="arrays")), expected)


def test_a_classifiers_outputs_are_of_its_scores(exported: str) -> None:
    for outputs in _predict(exported, "serving_default", IMAGES):
        assert outputs["label"] == np.argmax(outputs["scores"])
        assert outputs["probability"] == np.max(outputs["scores"])
        assert np.sum(outputs["scores"]) == pytest.approx(1)


def test_probabilities_stay_as_they_are(network: Any, tmp_path: Path) -> None:
    export_model(network, decode_and_resize(8, color="gray"), str(tmp_path / "m"), scores="probabilities")

    (outputs,) = _predict(str(tmp_path / "m"), "from_bytes", IMAGES[:1])

    image = decode_and_resize(8, color="gray")(IMAGES[0].read_bytes())
    np.testing.assert_allclose(outputs["scores"], network(image[None])[0], rtol=1e-6)


def test_a_bad_file_costs_itself_only(exported: str, tmp_path: Path) -> None:
    note = tmp_path / "note.png"
    note.write_text("no image")
    paths = [IMAGES[0], note, IMAGES[1]]

    first, second, third = _predict(exported, "from_bytes", paths)
    assert isinstance(second, DecodeError)
    _assert_equal([first, third], _predict(exported, "from_bytes", [IMAGES[0], IMAGES[1]]))

    _, missing = _predict(exported, "serving_default", [IMAGES[0], tmp_path / "missing.png"])
    assert isinstance(missing, FileMissing)


def test_the_pipeline_takes_the_model(exported: str, tmp_path: Path) -> None:
    flags = ["--input", str(ROOT / "examples/digits/images/00*.png"), "--model", exported]

    assert main([*flags, "--output", str(tmp_path / "out")]) == 0

    (file,) = (tmp_path / "out").glob("predictions-*.jsonl")
    records = {record["uri"]: record for record in map(orjson.loads, file.read_bytes().splitlines())}
    inputs = sorted((ROOT / "examples/digits/images").glob("00*.png"))
    assert sorted(records) == [str(path) for path in inputs]
    found = [records[str(path)]["outputs"] for path in inputs]
    _assert_equal(found, _predict(exported, "from_bytes", inputs))


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (lambda last: last, ["output"]),
        (lambda last: {"ink": last, "more": last}, ["ink", "more"]),
        (lambda last: [last, last + 1], ["add", "last"]),
    ],
)
def test_another_model_keeps_its_outputs_by_their_names(
    keras: Any, tmp_path: Path, outputs: Callable[[Any], Any], names: list[str]
) -> None:
    images = keras.Input((8, 8, 1))
    last = keras.layers.Dense(3, name="last")(keras.layers.Flatten()(images))
    model = keras.Model(images, outputs(last))

    export_model(model, decode_and_resize(8, color="gray"), str(tmp_path / "m"))

    signature = read_signatures(str(tmp_path / "m"))["from_images"]
    assert [re.sub(r"_\d+$", "", spec.name) for spec in signature.outputs] == names
    assert {spec.shape for spec in signature.outputs} == {(None, 3)}


def test_weights_are_written_once_and_the_optimizer_is_left_out(keras: Any, tmp_path: Path) -> None:
    network = _network(keras, keras.layers.Dense(1000), keras.layers.Dense(10))
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(np.zeros((4, 8, 8, 1)), np.zeros(4), verbose=0)

    export_model(network, decode_and_resize(8, color="gray"), str(tmp_path / "m"), scores="logits")

    (weights,) = (tmp_path / "m").glob("variables/variables.data-*")
    assert weights.stat().st_size < 1.2 * 4 * network.count_params()


def test_a_preprocessing_of_ones_own_may_have_variables_and_branches(network: Any, tmp_path: Path) -> None:
    tf = import_tensorflow()
    decode, factor = decode_and_resize(8, color="gray"), tf.Variable(0.5)

    def darken(image_bytes: Any) -> Any:
        image = decode(image_bytes)
        if tf.reduce_mean(image) > 0:
            image *= factor
        return image

    export_model(network, darken, str(tmp_path / "m"))

    images = tf.saved_model.load(str(tmp_path / "m")).signatures["preprocess"]
    content = IMAGES[0].read_bytes()
    prepared = images(image_bytes=tf.constant([content]))["images"]
    np.testing.assert_allclose(prepared[0], decode(content) * 0.5, rtol=1e-6)


def test_the_words_of_a_model_are_exported_with_it(keras: Any, tmp_path: Path) -> None:
    images = keras.Input((8, 8, 1))
    best = keras.ops.argmax(keras.layers.Dense(2)(keras.layers.Flatten()(images)), -1)
    words = keras.layers.StringLookup(vocabulary=["ink", "paper"], invert=True, num_oov_indices=0)(best)

    export_model(keras.Model(images, words), decode_and_resize(8, color="gray"), str(tmp_path / "m"))

    (outputs,) = _predict(str(tmp_path / "m"), "from_bytes", IMAGES[:1])
    assert outputs["output"] in ("ink", "paper")


def test_a_folder_that_holds_something_is_left_alone(network: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(ModelError, match=f"{re.escape(str(tmp_path))} is not empty"):
        export_model(network, decode_and_resize(8, color="gray"), str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("preprocess", "told"),
    [
        (
            decode_and_resize(9, color="gray"),
            r"makes images of the shape \(9, 9, 1\); the model takes \(8, 8, 1\)",
        ),
        (decode_and_resize((8, 9), color="gray"), r"makes images of the shape \(8, 9, 1\)"),
        (decode_and_resize(8), r"makes images of the shape \(8, 8, 3\)"),
        (lambda content: (content, content), "must return one tensor, an image"),
    ],
)
def test_what_the_model_does_not_take_is_told(
    network: Any, tmp_path: Path, preprocess: Callable[[Any], Any], told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        export_model(network, preprocess, str(tmp_path / "m"))


def test_images_of_no_certain_size_are_refused(keras: Any, tmp_path: Path) -> None:
    any_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])

    def decode(image_bytes: Any) -> Any:
        return import_tensorflow().io.decode_image(image_bytes, channels=3, expand_animations=False)

    with pytest.raises(ModelError, match=r"images of the shape \(None, None, 3\): let it resize them"):
        export_model(any_size, decode, str(tmp_path / "m"))


def test_a_model_with_several_inputs_is_refused(keras: Any, tmp_path: Path) -> None:
    images, hour = keras.Input((8, 8, 1), name="images"), keras.Input((1,), name="hour")
    model = keras.Model([images, hour], keras.layers.Flatten()(images) + hour)

    with pytest.raises(ModelError, match="the model has the inputs images, hour"):
        export_model(model, decode_and_resize(8, color="gray"), str(tmp_path / "m"))


@pytest.mark.parametrize("units", [1, None])
def test_a_model_without_a_vector_of_scores_is_no_classifier(
    keras: Any, tmp_path: Path, units: int | None
) -> None:
    model = (
        _network(keras, keras.layers.Dense(units)) if units else keras.Sequential([keras.Input((8, 8, 1))])
    )

    with pytest.raises(ModelError, match=r"scores='logits' is for a model with one output, of the shape"):
        export_model(model, decode_and_resize(8, color="gray"), str(tmp_path / "m"), scores="logits")


@pytest.mark.parametrize("scale", ["0..1", "-1..1", "0..255"])
@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("gray", 1)])
def test_decode_and_resize_does_what_the_flag_preprocess_does(scale: Any, color: Any, channels: int) -> None:
    flag = Preprocessing.parse(f"scale={scale},color={color}")
    preparation = ImagePreparation.of(flag, TensorSpec("images", "float32", (None, 8, 8, channels)))

    for content in [path.read_bytes() for path in IMAGES[:5]]:
        (expected,) = preparation.decode([content])
        np.testing.assert_array_equal(decode_and_resize(8, scale, color)(content), np.asarray(expected))


def test_decode_and_resize_shrinks_with_all_pixels_or_as_keras_does() -> None:
    tf = import_tensorflow()
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::4] = 255
    content = tf.io.encode_png(pixels).numpy()

    smooth, as_keras = decode_and_resize(8)(content), decode_and_resize(8, antialias=False)(content)

    np.testing.assert_allclose(smooth[1:-1], 0.25, atol=0.02)
    np.testing.assert_allclose(as_keras, tf.image.resize(pixels, (8, 8)) / 255, rtol=1e-6)


@pytest.fixture
def a_users_folder(keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder that the page speaks of: a network, and photos."""
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax", name="dense"),
        ]
    )
    network.save(tmp_path / "network.keras")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").write_bytes(IMAGES[0].read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _outputs(folder: Path) -> Outputs:
    """Read the outputs of the only file that was predicted on."""
    (file,) = folder.glob("predictions-*")
    outputs: Outputs = orjson.loads(file.read_bytes())["outputs"]
    return outputs


def test_the_lines_of_the_page_export_models_that_its_command_takes(a_users_folder: Path) -> None:
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for code in (code for language, code in blocks if language == "python" and "network.keras" in code):
        exec(code, {})  # noqa: S102
    commands = [shlex.split(code) for language, code in blocks if language == "bash" and "photos/" in code]
    for program, *flags in commands:
        assert (program, main(flags)) == ("beam-predict", 0)

    assert len(commands) == 2
    assert _outputs(a_users_folder / "out/photos").keys() == {"label", "probability", "scores"}
    assert _outputs(a_users_folder / "out/keras").keys() == {"dense"}
    (outputs,) = _predict("my_padded_model", "from_bytes", [a_users_folder / "photos/one.jpg"])
    assert outputs.keys() == {"output"}


@pytest.mark.parametrize(("mode", "described"), re.findall(r"mode `(\w+)`\) \| `(.*?)`", PAGE))
def test_the_pages_descriptions_prepare_as_keras_applications_do(
    keras: Any, mode: str, described: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    content = import_tensorflow().io.encode_png(pixels).numpy()
    spec = TensorSpec("images", "float32", (None, 8, 8, 3))

    (prepared,) = ImagePreparation.of(Preprocessing.parse(described), spec).decode([content])

    expected = keras.applications.imagenet_utils.preprocess_input(pixels.astype(np.float32), mode=mode)
    np.testing.assert_allclose(np.asarray(prepared), expected, rtol=1e-5, atol=1e-5)
