"""TensorFlow Lite models: as floats, quantized in every way, of fixed sizes, and broken."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.errors import ModelError, PredictionError
from transforms.predictors import tflite_interpreter
from transforms.predictors.engines.litert_engine import convert_to_tflite
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.predictors.tflite import TfliteFunction

interpreters = pytest.importorskip("ai_edge_litert.interpreter")

ROOT = Path(__file__).parents[3]
DIGITS = str(ROOT / "examples/digits/model")
IMAGES = sorted((ROOT / "examples/digits/images").glob("*.png"))

Arrays = Mapping[str, np.ndarray[Any, Any]]


def _floats(_: Any, __: Any) -> None:
    """Leave the weights as they are."""


def _half(converter: Any, _: Any) -> None:
    tf = import_tensorflow()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: Any, _: Any) -> None:
    converter.optimizations = [import_tensorflow().lite.Optimize.DEFAULT]


def _inside(converter: Any, images: Any) -> None:
    """Quantize all but the inputs and outputs."""
    _dynamic(converter, images)
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)


def _through(dtype: str) -> Callable[[Any, Any], None]:
    """Quantize everything."""

    def configure(converter: Any, images: Any) -> None:
        tf = import_tensorflow()
        _inside(converter, images)
        sets = tf.lite.OpsSet
        wide = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide if dtype == "int16" else sets.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(dtype)

    return configure


QUANTIZED: dict[str, tuple[Callable[[Any, Any], None], float]] = {
    "float32": (_floats, 1e-5),
    "float16": (_half, 0.01),
    "dynamic range": (_dynamic, 0.08),
    "int8 inside": (_inside, 0.08),
    "int8": (_through("int8"), 0.08),
    "uint8": (_through("uint8"), 0.08),
    "int16": (_through("int16"), 0.08),
}
"""Each way to quantize, and how far the scores, from 0 to 1, may then be from the SavedModel's."""


def digits_images() -> Any:
    preprocess = import_tensorflow().saved_model.load(DIGITS).signatures["preprocess"]
    contents = import_tensorflow().constant([path.read_bytes() for path in IMAGES])
    return preprocess(image_bytes=contents)["images"].numpy()


def write_digits(path: Path, how: str = "float32") -> None:
    """Convert the example's model; what is quantized through and through has its scores alone."""
    tf = import_tensorflow()
    loaded, images = tf.saved_model.load(DIGITS), digits_images()
    predict, configure = loaded.signatures["from_images"], QUANTIZED[how][0]
    if how in ("int8", "uint8", "int16"):
        scores = tf.function(lambda images: {"scores": predict(images=images)["scores"]})
        spec = tf.TensorSpec([None, 8, 8, 1], tf.float32, name="images")
        predict = scores.get_concrete_function(images=spec)
    path.write_bytes(convert_to_tflite(predict, lambda converter: configure(converter, images)))


def write(path: Path, function: Callable[..., Any], *shape: int | None, dtype: str = "float32") -> str:
    """Convert a function of `x` that returns `y`."""
    tf = import_tensorflow()
    named = tf.function(lambda x: {"y": function(tf, x)})
    concrete = named.get_concrete_function(x=tf.TensorSpec(shape, dtype, name="x"))
    path.write_bytes(convert_to_tflite(concrete))
    return str(path)


def loaded(path: str | Path, signature: str = "serving_default") -> TfliteFunction:
    function = TfliteFunction(str(path), signature)
    function.load()
    return function


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def digits(folder: Path) -> str:
    write_digits(folder / "digits.tflite")
    return str(folder / "digits.tflite")


@pytest.fixture(scope="module")
def images() -> Any:
    return digits_images()


@pytest.fixture(scope="module")
def expected(images: Any) -> Arrays:
    bare = import_tensorflow().saved_model.load(DIGITS).signatures["from_images"](images=images)
    return {name: values.numpy() for name, values in bare.items()}


def bare(path: str | Path, stored: Any) -> Any:
    """Call the model's first input and its scores as they are stored, without our code."""
    interpreter = interpreters.Interpreter(model_path=str(path))
    return interpreter.get_signature_runner()(images=stored)["scores"]


@pytest.mark.parametrize("how", QUANTIZED)
def test_digits_are_recognized_however_they_are_quantized(
    how: str, tmp_path: Path, images: Any, expected: Arrays
) -> None:
    write_digits(tmp_path / "digits.tflite", how)
    function = loaded(tmp_path / "digits.tflite")

    found = function.call({"images": images})

    assert str(function.signature.inputs[0]) == "images: float32 [?, 8, 8, 1]"
    assert "scores: float32 [?, 10]" in str(function.signature)
    np.testing.assert_array_equal(found["scores"].argmax(1), expected["label"])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=QUANTIZED[how][1])


@pytest.mark.parametrize("how", ["int8", "uint8", "int16"])
def test_quantized_inputs_and_outputs_are_scaled_as_the_model_says(
    how: str, tmp_path: Path, images: Any
) -> None:
    write_digits(tmp_path / "digits.tflite", how)
    interpreter = interpreters.Interpreter(model_path=str(tmp_path / "digits.tflite"))
    details = (*interpreter.get_input_details(), *interpreter.get_output_details())
    (scale, zero), (scale_out, zero_out) = (found["quantization"] for found in details)
    limits = np.iinfo(how)
    stored = np.clip(np.round(images / np.float32(scale)) + zero, limits.min, limits.max).astype(how)

    scores = (bare(tmp_path / "digits.tflite", stored).astype(np.float32) - zero_out) * np.float32(scale_out)

    np.testing.assert_array_equal(
        loaded(tmp_path / "digits.tflite").call({"images": images})["scores"], scores
    )


def test_what_does_not_fit_is_cut_to_the_nearest_and_nan_is_refused(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits.tflite", "int8")
    function = loaded(tmp_path / "digits.tflite")
    much = np.full((1, 8, 8, 1), np.inf, np.float32)

    np.testing.assert_array_equal(
        function.call({"images": much})["scores"], function.call({"images": np.ones_like(much)})["scores"]
    )
    with pytest.raises(ValueError, match="which have no NaN"):
        function.call({"images": much * np.nan})


def test_batches_of_all_sizes_have_the_same_rows(digits: str, images: Any) -> None:
    function = loaded(digits)
    together = function.call({"images": images})

    for count in (1, 2, 33, 7, 360, 1):
        apart = function.call({"images": images[:count]})
        for name, values in apart.items():
            np.testing.assert_array_equal(values, together[name][:count])


def test_threads_do_not_disturb_each_other(digits: str, images: Any, expected: Arrays) -> None:
    function = loaded(digits)

    def differs(number: int) -> float:
        rows = slice(number % 350, number % 350 + 1 + number % 5)
        found = function.call({"images": images[rows]})["scores"]
        return float(np.abs(found - expected["scores"][rows]).max())

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(differs, range(1_000))) < 1e-5


def _reshaped(rows: int) -> Callable[..., Any]:
    return lambda tf, x: tf.reshape(x, [rows, 4]) * 2.0


ONE_BY_ONE: dict[str, tuple[Callable[..., Any], int, Callable[[Any], Any]]] = {
    "cannot be resized": (_reshaped(1), 1, lambda x: x.reshape(-1, 4) * 2),
    "cannot be resized, made for three": (_reshaped(3), 3, lambda x: x.reshape(-1, 4) * 2),
    "gives one row for all": (lambda tf, x: tf.reduce_sum(x)[None], 1, lambda x: x.sum((1, 2))),
    "mixes its rows": (lambda tf, x: x - tf.reduce_mean(x, 0, keepdims=True) + 1.0, 1, np.ones_like),
}


@pytest.mark.parametrize("kind", ONE_BY_ONE)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_model_of_a_fixed_size_is_given_that_size(kind: str, count: int, tmp_path: Path) -> None:
    function, rows, right = ONE_BY_ONE[kind]
    model = loaded(write(tmp_path / "fixed.tflite", function, rows, 2, 2))
    x = np.random.default_rng(0).random((count, 2, 2), np.float32)

    assert model.signature.inputs[0].shape == (None, 2, 2)
    np.testing.assert_allclose(model.call({"x": x})["y"], right(x), rtol=1e-5)


def test_a_model_that_was_made_for_one_but_can_be_resized_is_given_batches(tmp_path: Path) -> None:
    function = TfliteFunction(write(tmp_path / "one.tflite", lambda tf, x: tf.nn.relu(x) * 2.0, 1, 3))

    assert function._facts.rows is None


def test_a_model_without_signatures_has_the_default_one(digits: str, images: Any, tmp_path: Path) -> None:
    path = tmp_path / "bare.tflite"
    path.write_bytes(without_signatures(Path(digits).read_bytes()))
    function = loaded(path)

    assert [spec.name for spec in function.signature.inputs] == ["images"]
    assert len(function.signature.outputs) == 3
    (scores,) = (values for values in function.call({"images": images}).values() if values.ndim == 2)
    np.testing.assert_array_equal(scores, loaded(digits).call({"images": images})["scores"])
    with pytest.raises(ModelError, match="has no signature 'other'; leave --signature out"):
        _ = TfliteFunction(str(path), "other").signature


def without_signatures(content: bytes) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_signature_is_chosen_by_its_name(tmp_path: Path) -> None:
    tf = import_tensorflow()
    module, spec = tf.Module(), tf.TensorSpec([None, 2], tf.float32, name="x")
    module.twice = tf.function(lambda x: {"y": x * 2.0}, input_signature=[spec])
    module.thrice = tf.function(lambda x: {"y": x * 3.0}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "both"), {"twice": module.twice, "thrice": module.thrice})
    path, x = tmp_path / "both.tflite", np.ones((4, 2), np.float32)
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "both")).convert())

    np.testing.assert_array_equal(loaded(path, "twice").call({"x": x})["y"], x * 2)
    np.testing.assert_array_equal(loaded(path, "thrice").call({"x": x})["y"], x * 3)
    with pytest.raises(ModelError, match=r"no signature 'serving_default'; .*\n    thrice\n    twice"):
        _ = TfliteFunction(str(path)).signature


def test_strings_come_through_whole(tmp_path: Path) -> None:
    model = loaded(write(tmp_path / "echo.tflite", lambda tf, x: tf.identity(x), None, dtype="string"))
    x = np.array(["é", b"a\0b\0\0", b"\xff"], object)

    assert list(model.call({"x": x})["y"]) == ["é".encode(), b"a\0b\0\0", b"\xff"]


def test_an_item_of_another_shape_is_refused_and_costs_no_other(digits: str, images: Any) -> None:
    function = loaded(digits)

    with pytest.raises(ValueError, match=r"the model takes images: float32 \[\?, 8, 8, 1\]; got") as raised:
        function.call({"images": np.zeros((1, 9, 8, 1), np.float32)})

    assert isinstance(function.item_error(raised.value), PredictionError)
    assert function.suspects({}) == ()
    assert function.call({"images": images[:3]})["label"].shape == (3,)


def test_a_failed_call_leaves_no_broken_interpreter(tmp_path: Path) -> None:
    def gather(tf: Any, x: Any) -> Any:
        return tf.gather(tf.constant([5.0, 6.0, 7.0]), x)

    model = loaded(write(tmp_path / "gather.tflite", gather, None, dtype="int32"))

    for _ in range(3):
        with pytest.raises(RuntimeError):
            model.call({"x": np.array([1, 99], np.int32)})
        np.testing.assert_array_equal(model.call({"x": np.array([2, 0], np.int32)})["y"], [7, 5])


def test_a_pickle_has_what_is_known_and_no_interpreter(digits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = loaded(digits)
    pickled = pickle.dumps(function)
    monkeypatch.setattr(tflite_interpreter, "_interpreter", None)  # what is known is not asked for again

    assert len(pickled) < 1_500
    assert pickle.loads(pickled).signature == function.signature  # noqa: S301


def _write_without_weights(path: Path, _: str) -> None:
    tf = import_tensorflow()
    converter = tf.lite.TFLiteConverter.from_saved_model(DIGITS, signature_keys=["from_images"])
    path.write_bytes(converter.convert())


def _write_flex(path: Path, _: str) -> None:
    tf = import_tensorflow()
    lower = tf.function(lambda x: {"y": tf.linalg.det(x)})
    spec = tf.TensorSpec([None, 3, 3], tf.float32, name="x")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([lower.get_concrete_function(x=spec)])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path.write_bytes(converter.convert())


def _write_custom(path: Path, _: str) -> None:
    tf = import_tensorflow()
    inverse = tf.function(lambda x: {"y": tf.math.erfinv(x)})
    spec = tf.TensorSpec([None], tf.float32, name="x")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([inverse.get_concrete_function(x=spec)])
    converter.allow_custom_ops = True
    path.write_bytes(converter.convert())


def _write_scalar(path: Path, _: str) -> None:
    write(path, lambda tf, x: tf.reduce_sum(x), None, 2)


def _write_cut_off(path: Path, digits: str) -> None:
    path.write_bytes(Path(digits).read_bytes()[:100_000])


UNUSABLE: dict[str, tuple[Callable[[Path, str], Any], str]] = {
    "nothing there": (lambda path, _: None, "cannot be read: No such file"),
    "an empty file": (lambda path, _: path.touch(), "is not a TensorFlow Lite model: it begins with b''"),
    "text": (
        lambda path, _: path.write_text("hello, world"),
        "is not a TensorFlow Lite model: it begins with b'hello",
    ),
    "cut off": (_write_cut_off, "is damaged or cut off: The model is not a valid Flatbuffer"),
    "operations of TensorFlow's": (_write_flex, r"that LiteRT lacks \(MatrixDeterminant\); convert it"),
    "a custom operation": (_write_custom, "custom operation Erfinv, which LiteRT lacks"),
    "no weights": (_write_without_weights, "converted without its weights; convert it again"),
    "a scalar for a batch": (_write_scalar, r"output 'y' has the shape \[\] for a batch of 1"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_model_that_cannot_be_run_is_refused_at_launch(kind: str, tmp_path: Path, digits: str) -> None:
    make, words = UNUSABLE[kind]
    path = tmp_path / "model.tflite"
    make(path, digits)

    with pytest.raises(ModelError, match=words):
        _ = TfliteFunction(str(path), "from_images" if kind == "no weights" else "serving_default").signature


def test_without_litert_it_says_what_to_install(digits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)

    with pytest.raises(ModelError, match="need the extra `litert`: pip install ai-edge-litert"):
        _ = TfliteFunction(digits).signature


def test_tensorflow_is_not_imported_and_nothing_is_said(digits: str) -> None:
    code = (
        "import sys, numpy\n"
        "from transforms.predictors.tflite import TfliteFunction\n"
        f"function = TfliteFunction({digits!r}); function.load()\n"
        "function.call({'images': numpy.zeros((2, 8, 8, 1), numpy.float32)})\n"
        "print([name for name in ('tensorflow', 'keras', 'apache_beam') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")
