"""Images, resized and made into the numbers that inputs take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.transforms.image_kinds import (
    ANY_SIZE,
    AS_IN_TENSORFLOW,
    COLOR,
    JPEGS,
    RGB,
    encoded,
    pixels,
    prepare,
)
from transforms.errors import ModelError
from transforms.predictors import images
from transforms.predictors.base import TensorSpec
from transforms.predictors.images import ImagePreparation, Layout, is_image
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.tensorflow_runtime import import_tensorflow

ROOT = Path(__file__).parents[3]


def test_a_forked_process_decodes_with_threads_of_its_own() -> None:
    code = (
        "import os\n"
        "from transforms.predictors.base import TensorSpec\n"
        "from transforms.predictors.images import ImagePreparation\n"
        "from transforms.predictors.preprocessing import Preprocessing\n"
        "spec = TensorSpec('x', 'float32', (None, 8, 8, 3))\n"
        "how = ImagePreparation.of(Preprocessing(), spec)\n"
        "how.decode([b'x'])\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if 'begins' in str(how.decode([b'x'])[0]) else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [(1, 5_000), (5_000, 1), (3, 5), (300, 200)])
def test_every_shape_of_image_gets_the_size(resize: str, size: tuple[int, int]) -> None:
    content = encoded(Image.new("RGB", size, (9, 9, 9)), "PNG")

    assert pixels(content, (24, 16), resize=resize).shape == (16, 24, 3)


def test_padding_is_black_and_on_both_sides() -> None:
    found = pixels(encoded(Image.new("RGB", (10, 20), (9, 9, 9)), "PNG"), (20, 20), resize="pad")

    assert (found[:, 5:15] == 9).all()
    assert (found[:, :5] == 0).all()
    assert (found[:, 15:] == 0).all()


def test_cropping_keeps_the_middle() -> None:
    stripes = np.zeros((20, 40, 3), np.uint8)
    stripes[:, 10:30] = 200

    assert (pixels(encoded(Image.fromarray(stripes), "PNG"), (20, 20), resize="crop") == 200).all()


def test_resizing_is_tensorflows_with_antialias_to_a_rounding() -> None:
    content = encoded(COLOR, "PNG")
    resized = import_tensorflow().image.resize(RGB, (20, 24), antialias=True).numpy()

    assert np.abs(pixels(content, (24, 20)) - resized).max() <= 1


ONE = encoded(Image.new("RGB", (2, 1), (255, 51, 0)), "PNG")
NUMBERS = {
    "": ((1, 2, 3), [1, 0.2, 0]),
    "scale=-1..1": ((1, 2, 3), [1, -0.6, -1]),
    "scale=0..255": ((1, 2, 3), [255, 51, 0]),
    "color=bgr": ((1, 2, 3), [0, 0.2, 1]),
    "mean=55/1/100": ((1, 2, 3), [200, 50, -100]),
    "mean=55/1/100,color=bgr": ((1, 2, 3), [-55, 50, 155]),
    "mean=5,deviation=10": ((1, 2, 3), [25, 4.6, -0.5]),
    "deviation=2": ((1, 2, 3), [127.5, 25.5, 0]),
    "scale=0..1,mean=0.5/0.2/0.5,deviation=0.5/1/0.25": ((1, 2, 3), [1, 0, -2]),
    "color=gray,scale=0..255": ((1, 2, 1), [106]),
    "scale=0..255,color=gray": ((1, 2), 106),
}


@pytest.mark.parametrize("description", NUMBERS)
def test_numbers_are_as_described(description: str) -> None:
    shape, expected = NUMBERS[description]

    found = prepare(Preprocessing.parse(description), TensorSpec("x", "float32", (None, *shape)), ONE)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.broadcast_to(np.float32(expected), shape), atol=1e-6)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "uint8", "int16", "int32", "int64", "uint16"]
)
def test_every_dtype_that_holds_pixels_is_made(dtype: str) -> None:
    found = prepare(Preprocessing(scale="0..255"), TensorSpec("x", dtype, (None, 1, 2, 3)), ONE)

    assert found.dtype == dtype
    np.testing.assert_array_equal(found[0, 0], np.array([255, 51, 0], dtype))


def test_bfloat16_is_made() -> None:
    found = prepare(Preprocessing(scale="0..255"), TensorSpec("x", "bfloat16", (None, 1, 2, 3)), ONE)

    assert found.dtype.name == "bfloat16"


LAYOUTS = {
    "height, width, channels": ((224, 200, 3), None, Layout(224, 200, 3)),
    "channels first": ((3, 224, 200), None, Layout(224, 200, 3, channels_first=True)),
    "one channel, first": ((1, 28, 28), None, Layout(28, 28, 1, channels_first=True)),
    "channels first, any size": ((3, None, None), None, Layout(None, None, 3, channels_first=True)),
    "all open": ((None, None, None), None, Layout(None, None, None)),
    "all open, told": ((None, None, None), "chw", Layout(None, None, None, channels_first=True)),
    "three by three by three": ((3, 3, 3), None, Layout(3, 3, 3)),
    "three by three by three, told": ((3, 3, 3), "chw", Layout(3, 3, 3, channels_first=True)),
    "gray": ((28, 28), None, Layout(28, 28, 0)),
    "a video": ((16, 224, 224, 3), None, None),
    "features": ((28, 28, 28), None, None),
    "a vector": ((784,), None, None),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layout_is_told_by_the_shape(kind: str) -> None:
    shape, told, expected = LAYOUTS[kind]

    assert Layout.of(TensorSpec("x", "float32", (None, *shape)), told) == expected


@pytest.mark.parametrize("dtype", ["string", "bool", "complex64"])
def test_only_numbers_are_images(dtype: str) -> None:
    assert not is_image(TensorSpec("x", dtype, (None, 8, 8, 3)))


def test_channels_first_are_put_first() -> None:
    found = prepare(Preprocessing(scale="0..255"), TensorSpec("x", "float32", (None, 3, 1, 2)), ONE)

    np.testing.assert_array_equal(found, np.float32([[[255, 255]], [[51, 51]], [[0, 0]]]))


def test_an_input_of_any_shape_takes_images_of_the_size_that_is_told() -> None:
    how = Preprocessing.parse("size=4x3,layout=chw")

    assert prepare(how, TensorSpec("x", "float32", None), ONE).shape == (3, 3, 4)


CONTRADICTIONS = {
    "size=9x9": ("float32", (8, 8, 3), "takes another"),
    "scale=0..1": ("float32", (None, None, 3), "add size=WIDTHxHEIGHT"),
    "color=gray": ("float32", (8, 8, 3), "takes another number of channels"),
    "color=rgb": ("float32", (8, 8), "takes another number of channels"),
    "layout=chw": ("float32", (8, 8, 3), "layout=chw: input"),
    "color=gray,mean=1/2/3": ("float32", (8, 8, 1), "3 numbers for 1 channels"),
    "scale=-1..1": ("uint8", (8, 8, 3), "pass scale=0..255"),
    "scale=0..255,mean=1": ("int32", (8, 8, 3), "pass scale=0..255"),
    "scale=0..255": ("int8", (8, 8, 3), "no room for 0..255"),
    "resize=pad": ("float32", (784,), "takes no images"),
}


@pytest.mark.parametrize("description", CONTRADICTIONS)
def test_a_description_that_does_not_fit_the_input_is_refused(description: str) -> None:
    dtype, shape, words = CONTRADICTIONS[description]

    with pytest.raises(ModelError) as raised:
        ImagePreparation.of(Preprocessing.parse(description), TensorSpec("x", dtype, (None, *shape)))

    assert words in str(raised.value)


def test_images_are_decoded_by_the_threads_of_the_process() -> None:
    preparation = ImagePreparation.of(Preprocessing(size=(8, 8), scale="0..255"), ANY_SIZE)
    contents = [JPEGS["jpeg"], b"", AS_IN_TENSORFLOW["png rgb"]] * 20

    outcomes = preparation.decode(contents)

    assert [type(outcome).__name__ for outcome in outcomes] == ["ndarray", "DecodeError", "ndarray"] * 20
    assert images._threads()._max_workers == os.cpu_count()
    assert images._threads() is images._threads()
