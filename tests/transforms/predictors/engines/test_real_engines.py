"""OpenVINO and LiteRT themselves, on the digits and on small models."""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.transforms.predictors.engines.installed import require
from transforms.errors import EngineRefused
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.engines import EngineWish, with_engine
from transforms.predictors.engines.base import Call, Engine
from transforms.predictors.engines.differences import difference
from transforms.predictors.functions import Tensors
from transforms.predictors.open_model import open_model
from transforms.predictors.saved_model import SavedModelFunction
from transforms.records import FileBytes, FileRef

DIGITS = Path(__file__).parents[4] / "examples/digits"
SIZES = (1, 2, 7, 32, 65)


@pytest.fixture(params=["openvino", "litert"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return require(request.param)


@pytest.fixture(scope="module")
def digits() -> SavedModelFunction:
    function = SavedModelFunction(str(DIGITS / "model"), "from_images")
    function.load()
    return function


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save a model whose signatures are of many kinds."""
    import tensorflow as tf

    class Model(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2) / 10)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32, name="first"),
                tf.TensorSpec([None], tf.int64, name="number"),
                tf.TensorSpec([], tf.float32, name="scale"),
                tf.TensorSpec([None], tf.int32, name="unused"),
            ]
        )
        def several(self, first: Any, number: Any, scale: Any, unused: Any) -> Any:
            product = first @ self.weights * scale
            return {
                "product": product,
                "number": number,
                "is_large": product[:, 0] > 1,
                "half": tf.cast(product, tf.float16),
                "byte": tf.cast(product, tf.uint8),
                "cube": tf.reshape(product, [-1, 2, 1]),
            }

        @tf.function(input_signature=[tf.TensorSpec([4, 3], tf.float32, name="first")])
        def four_rows(self, first: Any) -> Any:
            return {"product": first @ self.weights}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="first")])
        def text(self, first: Any) -> Any:
            return {"text": tf.strings.as_string(tf.reduce_sum(first, axis=-1))}

    folder = str(tmp_path_factory.mktemp("models") / "model")
    model = Model()
    signatures = {"several": model.several, "four_rows": model.four_rows, "text": model.text}
    tf.saved_model.save(model, folder, signatures=signatures)
    return folder


def _images(count: int) -> Tensors:
    return {"images": np.random.default_rng(count).random((count, 8, 8, 1), dtype=np.float32)}


def _several(count: int) -> Tensors:
    random = np.random.default_rng(count)
    return {
        "first": random.random((count, 3), dtype=np.float32),
        "number": np.arange(count),
        "scale": np.asarray(5, np.float32),
        "unused": np.zeros(count, np.int32),
    }


@pytest.mark.parametrize("batch_size", [1, 32])
def test_digits_of_any_batch_size_have_tensorflows_outputs(
    engine: Engine, digits: SavedModelFunction, batch_size: int
) -> None:
    converted = engine.convert(digits, batch_size)

    for size in SIZES:
        images = _images(size)
        assert difference(converted(images), digits.call(images)).value < 1e-5


def test_the_outputs_outlive_tensorflows_model(engine: Engine) -> None:
    function = SavedModelFunction(str(DIGITS / "model"), "from_images")
    function.load()
    images = _images(32)
    expected = function.call(images)
    converted = engine.convert(function, batch_size=32)

    del function
    gc.collect()
    junk = [np.full(size, np.nan, np.float32) for size in range(1, 20_000, 8)]  # where the weights were

    assert difference(converted(images), expected).value < 1e-5
    del junk


def test_threads_do_not_disturb_each_other(engine: Engine, digits: SavedModelFunction) -> None:
    converted = engine.convert(digits, batch_size=32)
    batches = [_images(size) for size in range(1, 25)] * 10

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(converted, batches))

    expected = [digits.call(images) for images in batches[:24]] * 10
    assert max(difference(*pair).value for pair in zip(found, expected, strict=True)) < 1e-5


def test_inputs_and_outputs_of_many_kinds_keep_their_names_and_dtypes(engine: Engine, models: str) -> None:
    function = SavedModelFunction(models, "several")
    function.load()
    converted: Call = engine.convert(function, batch_size=4)

    for size in SIZES:
        inputs = _several(size)
        assert difference(converted(inputs), function.call(inputs)).value < 1e-5


def test_a_model_with_a_fixed_batch_is_given_it(engine: Engine, models: str) -> None:
    function = with_engine(SavedModelFunction(models, "four_rows"), EngineWish(engine.name, batch_size=32))
    function.load()
    first = np.ones((4, 3), np.float32)

    assert function.call({"first": first})["product"] == pytest.approx(np.full((4, 2), [0.6, 0.9]))


def test_what_an_engine_cannot_compute_is_refused_in_one_line(
    engine: Engine, models: str, capfd: pytest.CaptureFixture[str]
) -> None:
    function = with_engine(SavedModelFunction(models, "text"), EngineWish(engine.name))

    with pytest.raises(EngineRefused, match=r"cannot convert signature 'text': .*AsString") as caught:
        function.load()

    assert "\n" not in str(caught.value)
    assert "error:" not in capfd.readouterr().err


def test_auto_goes_on_with_tensorflow_then(engine: Engine, models: str) -> None:
    function = with_engine(SavedModelFunction(models, "text"), EngineWish("auto"))
    function.load()

    assert function.call({"first": np.ones((1, 3), np.float32)})["text"].tolist() == [b"3.000000"]


@pytest.mark.parametrize("choice", ["openvino", "litert", "auto"])
def test_the_digits_are_told_through_the_models_own_preprocessing(choice: str) -> None:
    for name in ("openvino", "litert") if choice == "auto" else (choice,):
        require(name)
    paths = sorted(DIGITS.glob("images/*.png"))[:40]
    items = [FileBytes(FileRef(str(path)), path.read_bytes()) for path in paths]
    plain = open_model(str(DIGITS / "model"), "from_images")
    other = open_model(str(DIGITS / "model"), "from_images", engine=EngineWish(choice))

    found = []
    for predictor in (plain, other):
        predictor.load()
        predictor.warm_up(32)
        found.append([outcome["label"] for outcome in predictor.predict(items)])  # type: ignore[index]

    assert found[0] == found[1]


def test_not_a_number_stays_what_it_is(engine: Engine, models: str) -> None:
    function = SavedModelFunction(models, "several")
    function.load()
    inputs = {**_several(3), "scale": np.asarray(np.nan, np.float32)}

    product = engine.convert(function, batch_size=4)(inputs)["product"]

    assert np.isnan(product).all()


def test_openvino_is_imported_without_its_telemetry() -> None:
    require("openvino")
    script = (
        "import sys\n"
        "from transforms.predictors.engines.openvino_engine import import_openvino\n"
        "import_openvino().convert_model\n"
        "print([name for name in sys.modules if 'openvino_telemetry' in name])\n"
    )
    assert _run(script) == "[]"


def test_importing_the_engines_imports_none_of_them() -> None:
    heavy = "('tensorflow', 'openvino', 'ai_edge_litert', 'apache_beam')"
    script = (
        "import sys\n"
        "import transforms.predictors.engines, transforms.predictors.convert\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    assert _run(script) == "[]"


def test_a_signature_is_told_from_an_engine_that_lacks_an_output(digits: SavedModelFunction) -> None:
    from transforms.predictors.engines.litert_engine import compile_litert, convert_to_tflite

    require("litert")
    other = Signature("other", digits.signature.inputs, (TensorSpec("depth", "float32", (None,)),))

    with pytest.raises(Exception, match="the model has the outputs label, probability, scores"):
        compile_litert(convert_to_tflite(digits.concrete), other, batch_size=4)


def _run(script: str) -> str:
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=root, timeout=120
    )
    return done.stdout.strip()


_SIGNALLED = """
import gc, os, signal, sys, threading
from transforms.predictors.engines import EngineWish
from transforms.predictors.open_model import open_model
from transforms.records import FileBytes, FileRef

model, image = sys.argv[1:]
predictor = open_model(model, "from_images", engine=EngineWish("auto", 1e-3, 1))
predictor.load()
batch = [FileBytes(FileRef(image), open(image, "rb").read())]
thread = threading.Thread(target=predictor.predict, args=[batch])  # which drops what is slower
thread.start()
thread.join()
gc.collect()
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
os.kill(os.getpid(), signal.SIGTERM)
print(len(heard))
"""


def test_a_signal_is_heard_after_an_engine_was_dropped_in_another_thread() -> None:
    require("openvino")
    require("litert")
    arguments = [sys.executable, "-c", _SIGNALLED, str(DIGITS / "model"), str(DIGITS / "images/0030.png")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
