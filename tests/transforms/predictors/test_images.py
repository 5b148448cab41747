"""Images of every kind, decoded and prepared; TensorFlow's decoder is the reference."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from transforms.errors import DecodeError, ModelError
from transforms.predictors import images
from transforms.predictors.base import TensorSpec
from transforms.predictors.images import ImagePreparation, Layout, Preprocessing, is_image
from transforms.predictors.tensorflow_runtime import import_tensorflow

ROOT = Path(__file__).parents[3]
WIDTH, HEIGHT = 60, 40
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([COLUMNS * 4, ROWS * 6, (COLUMNS + ROWS) * 2], -1).astype(np.uint8)
COLOR = Image.fromarray(RGB)
GRAY = COLOR.convert("L")
RGBA = Image.fromarray(np.dstack([RGB, (COLUMNS * 4).astype(np.uint8)]))
PALETTE = COLOR.quantize(16)
DEEP_GRAY = ((COLUMNS + ROWS) * 600).astype(">u2")
DEEP = np.stack([COLUMNS * 1000, ROWS * 1500, (COLUMNS + ROWS) * 600, COLUMNS * 1000], -1).astype(">u2")

ANY_SIZE = TensorSpec("images", "uint8", (None, None, None, 3))


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(size: tuple[int, int], depth: int, color: int, samples: bytes, before: bytes = b"") -> bytes:
    """Write a PNG of a kind that Pillow does not write."""
    width, height = size
    stride = len(samples) // height
    rows = b"".join(b"\0" + samples[row * stride : (row + 1) * stride] for row in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


AS_IN_TENSORFLOW = {
    "png rgb": encoded(COLOR, "PNG"),
    "png gray": encoded(GRAY, "PNG"),
    "png rgba": encoded(RGBA, "PNG"),
    "png gray and alpha": encoded(RGBA.convert("LA"), "PNG"),
    "png palette": encoded(PALETTE, "PNG"),
    "png palette, one color transparent": encoded(PALETTE, "PNG", transparency=3),
    "png palette with alpha": encoded(PALETTE, "PNG", transparency=bytes(range(0, 160, 10))),
    "png 1 bit": encoded(COLOR.convert("1"), "PNG"),
    "png 2 bits": png((8, 4), 2, 0, bytes([0b00011011, 0b11100100] * 4)),
    "png 4 bits": png((8, 4), 4, 0, bytes([0x01, 0x5A, 0xF3, 0x77] * 4)),
    "png 16 bits gray": png((WIDTH, HEIGHT), 16, 0, DEEP_GRAY.tobytes()),
    "png 16 bits gray, one transparent": png(
        (WIDTH, HEIGHT), 16, 0, DEEP_GRAY.tobytes(), chunk(b"tRNS", struct.pack(">H", 600))
    ),
    "png 16 bits rgb": png((WIDTH, HEIGHT), 16, 2, DEEP[..., :3].tobytes()),
    "png 16 bits gray and alpha": png((WIDTH, HEIGHT), 16, 4, DEEP[..., 2:].tobytes()),
    "png 16 bits rgba": png((WIDTH, HEIGHT), 16, 6, DEEP.tobytes()),
    "png rgb, one color transparent": png(
        (WIDTH, HEIGHT), 8, 2, RGB.tobytes(), chunk(b"tRNS", struct.pack(">HHH", 0, 0, 0))
    ),
    "png with a gamma": png((WIDTH, HEIGHT), 8, 2, RGB.tobytes(), chunk(b"gAMA", struct.pack(">I", 20000))),
    "webp": encoded(COLOR, "WEBP"),
    "webp lossless": encoded(COLOR, "WEBP", lossless=True),
    "bmp": encoded(COLOR, "BMP"),
    "bmp gray": encoded(GRAY, "BMP"),
    "bmp rgba": encoded(RGBA, "BMP"),
    "gif": encoded(PALETTE, "GIF"),
    "gif transparent": encoded(PALETTE, "GIF", transparency=3),
    "gif animated": encoded(
        PALETTE, "GIF", save_all=True, append_images=[COLOR.rotate(90).quantize(16)], loop=0
    ),
}

JPEGS = {
    "jpeg": encoded(COLOR, "JPEG", quality=90),
    "jpeg 4:4:4": encoded(COLOR, "JPEG", quality=90, subsampling=0),
    "jpeg gray": encoded(GRAY, "JPEG"),
    "jpeg progressive": encoded(COLOR, "JPEG", progressive=True),
    "jpeg cmyk, inverted as Adobe does": encoded(COLOR.convert("CMYK"), "JPEG", quality=95),
}

WITHOUT_REFERENCE = {
    "webp rgba": (encoded(RGBA, "WEBP", lossless=True, exact=True), RGB),
    "webp animated": (
        encoded(COLOR, "WEBP", lossless=True, save_all=True, append_images=[COLOR.rotate(90)]),
        RGB,
    ),
    "bmp palette": (encoded(PALETTE, "BMP"), np.asarray(PALETTE.convert("RGB"))),
    "bmp 1 bit": (encoded(COLOR.convert("1"), "BMP"), np.asarray(COLOR.convert("1").convert("RGB"))),
}


def pixels(content: bytes, size: tuple[int, int] = (WIDTH, HEIGHT), **how: Any) -> np.ndarray[Any, Any]:
    """Decode to uint8."""
    outcome = prepare(Preprocessing(size=size, scale="0..255", **how), ANY_SIZE, content)
    assert isinstance(outcome, np.ndarray), outcome
    return outcome


def prepare(how: Preprocessing, spec: TensorSpec, content: bytes) -> Any:
    (outcome,) = ImagePreparation.of(how, spec).decode([content])
    return outcome


def refusal(content: bytes, **how: Any) -> str:
    outcome = prepare(Preprocessing(size=(8, 8), scale="0..255", **how), ANY_SIZE, content)
    assert isinstance(outcome, DecodeError), outcome
    return str(outcome)


def tensorflow_pixels(content: bytes, **how: Any) -> np.ndarray[Any, Any]:
    io_ops = import_tensorflow().io
    decode = io_ops.decode_jpeg if how else io_ops.decode_image
    options = how or {"expand_animations": False}
    found: np.ndarray[Any, Any] = decode(content, channels=3, **options).numpy()
    return found


@pytest.mark.parametrize("kind", AS_IN_TENSORFLOW)
def test_pixels_are_tensorflows_own(kind: str) -> None:
    content = AS_IN_TENSORFLOW[kind]
    expected = tensorflow_pixels(content)

    np.testing.assert_array_equal(pixels(content, expected.shape[1::-1]), expected)


@pytest.mark.parametrize("kind", JPEGS)
def test_pixels_of_a_jpeg_are_those_of_tensorflows_accurate_transform(kind: str) -> None:
    content, largest = JPEGS[kind], 1 if "cmyk" in kind else 0
    accurate = tensorflow_pixels(content, dct_method="INTEGER_ACCURATE").astype(int)

    assert np.abs(pixels(content) - accurate).max() <= largest
    assert np.abs(pixels(content) - tensorflow_pixels(content).astype(int)).max() <= 5


@pytest.mark.parametrize("kind", WITHOUT_REFERENCE)
def test_what_tensorflow_cannot_decode_is_decoded(kind: str) -> None:
    content, expected = WITHOUT_REFERENCE[kind]

    np.testing.assert_array_equal(pixels(content), expected)


@pytest.mark.parametrize("kind", JPEGS)
def test_fast_decoder_gives_the_pixels_of_the_other(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    fast = pixels(JPEGS[kind])
    monkeypatch.setattr(images, "_simplejpeg", lambda: None)

    np.testing.assert_array_equal(fast, pixels(JPEGS[kind]))


def test_what_the_fast_decoder_refuses_goes_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        @staticmethod
        def decode_jpeg(*_: Any, **__: Any) -> None:
            raise ValueError("unsupported")

    expected = pixels(JPEGS["jpeg"])
    monkeypatch.setattr(images, "_simplejpeg", lambda: Refuses)

    np.testing.assert_array_equal(pixels(JPEGS["jpeg"]), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_when_asked_for_and_else_ignored(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"WEBP": {"lossless": True}}.get(kind, {})
    content = encoded(COLOR, kind, exif=exif, **how)
    with Image.open(io.BytesIO(content)) as opened:
        ignored, upright = opened.convert("RGB"), ImageOps.exif_transpose(opened).convert("RGB")

    np.testing.assert_array_equal(pixels(content, upright.size, orientation="apply"), np.asarray(upright))
    np.testing.assert_array_equal(pixels(content), np.asarray(ignored))


NOT_IMAGES = {
    "nothing": (b"", "is empty"),
    "text": (b"hello world, this is a note", "begins with b'hello world, thi'"),
    "tiff": (encoded(COLOR, "TIFF"), "is a TIFF"),
    "big-endian tiff": (b"MM\0*\0\0\0\x08", "is a TIFF"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "is an SVG"),
    "svg with a prologue": (b'<?xml version="1.0"?>\n<!-- made -->\n<svg width="1">', "is an SVG"),
    "web page": (b"<!DOCTYPE html><html></html>", "is an HTML page"),
    "pdf": (b"%PDF-1.7\n", "is a PDF"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC image"),
    "avif": (b"\0\0\0\x18ftypavif\0\0\0\0", "is an AVIF image"),
    "array": (b"\x93NUMPY\x01\0", "--input_kind arrays"),
    "ppm, which Pillow knows": (encoded(COLOR, "PPM"), "not a JPEG, PNG, WebP, BMP or GIF"),
}


@pytest.mark.parametrize("kind", NOT_IMAGES)
def test_what_is_no_image_is_refused_by_name(kind: str) -> None:
    content, words = NOT_IMAGES[kind]

    assert words in refusal(content)


CUT = {
    "jpeg, its last byte missing": JPEGS["jpeg"][:-1],
    "jpeg, cut in the middle": JPEGS["jpeg"][: len(JPEGS["jpeg"]) * 2 // 3],
    "jpeg, cut in its header": JPEGS["jpeg"][:20],
    "png": AS_IN_TENSORFLOW["png rgb"][:-40],
    "png, its mark only": b"\x89PNG\r\n\x1a\n",
    "gif": AS_IN_TENSORFLOW["gif"][:200],
    "webp": AS_IN_TENSORFLOW["webp"][:60],
    "bmp": AS_IN_TENSORFLOW["bmp"][:400],
    "bmp, its mark only": b"BM",
}


@pytest.mark.parametrize("kind", CUT)
def test_what_is_cut_off_is_refused(kind: str) -> None:
    message = refusal(CUT[kind])

    assert "cannot be decoded" in message
    assert "object at 0x" not in message


@pytest.mark.parametrize("kind", [kind for kind in CUT if kind.startswith("jpeg")])
def test_a_cut_jpeg_is_refused_without_the_fast_decoder_too(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_simplejpeg", lambda: None)

    assert "cannot be decoded" in refusal(CUT[kind])


def _with(content: bytes, at: int, form: str, *values: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


def _png_bomb() -> bytes:
    """Write a whole PNG of 30,000 x 30,000 white pixels, in 0.1 MB."""
    deflate = zlib.compressobj(9)
    rows = b"".join(deflate.compress(b"\0" + b"\xff" * 3_750) for _ in range(30_000)) + deflate.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _webp_bomb() -> bytes:
    """Write an animated WebP with a small frame on a canvas of 16,383 x 16,383 pixels."""
    frame = AS_IN_TENSORFLOW["webp lossless"][12:]
    side, small = struct.pack("<I", 16_382)[:3], struct.pack("<II", WIDTH - 1, HEIGHT - 1)
    shown = b"\0" * 6 + small[:3] + small[4:7] + b"\x64\0\0\0" + frame
    parts = (b"VP8X", b"\x02\0\0\0" + side + side), (b"ANIM", b"\0" * 6), (b"ANMF", shown)
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(part)) + part for name, part in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": _png_bomb,
    "jpeg": lambda: _with(JPEGS["jpeg"], JPEGS["jpeg"].find(b"\xff\xc0") + 5, ">HH", 65_500, 65_500),
    "gif": lambda: _with(AS_IN_TENSORFLOW["gif"], 6, "<HH", 65_535, 65_535),
    "bmp": lambda: _with(AS_IN_TENSORFLOW["bmp"], 18, "<ii", 60_000, 60_000),
    "webp": _webp_bomb,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(kind: str) -> None:
    bomb = BOMBS[kind]()
    refusal(b"")  # Pillow is imported, and the threads are there
    started = time.perf_counter()

    message = refusal(bomb)

    assert time.perf_counter() - started < 0.5
    assert "pixels; at most 100,000,000 are decoded (--preprocess max_pixels=N)" in message


def test_a_bomb_in_a_gifs_first_frame_is_refused() -> None:
    gif = AS_IN_TENSORFLOW["gif"]
    at = gif.find(b",", 13 + 3 * 2 ** ((gif[10] & 7) + 1))

    assert "pixels" in refusal(_with(gif, at + 5, "<HH", 65_535, 65_535))


def test_the_limit_of_pixels_is_the_users() -> None:
    assert "60 x 40 pixels; at most 2,399" in refusal(JPEGS["jpeg"], max_pixels=WIDTH * HEIGHT - 1)
    assert pixels(JPEGS["jpeg"], max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)


def test_nothing_is_written_to_standard_error() -> None:
    broken_exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\0\0\0\x09"
    files = [encoded(COLOR, "JPEG", exif=broken_exif), AS_IN_TENSORFLOW["png palette with alpha"], b"x"]
    code = (
        "from transforms.predictors.images import *; from transforms.predictors.base import TensorSpec\n"
        "how = Preprocessing(size=(8, 8), orientation='apply', max_pixels=10**9)\n"
        "spec = TensorSpec('x', 'float32', (None, None, None, 3))\n"
        f"print([type(o).__name__ for o in ImagePreparation.of(how, spec).decode({files!r})])"
    )

    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "['ndarray', 'ndarray', 'DecodeError']"
    assert done.stderr == ""


def test_a_forked_process_decodes_with_threads_of_its_own() -> None:
    code = (
        "import os\n"
        "from transforms.predictors.images import *; from transforms.predictors.base import TensorSpec\n"
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


DESCRIPTIONS = {
    "sizes=1x1": "has the parts size, resize",
    "size=224": "size must be WIDTHxHEIGHT",
    "size=0x3": "size must be WIDTHxHEIGHT",
    "resize=fit": "resize must be one of stretch, pad, crop; not 'fit'",
    "scale=1": "scale must be one of 0..1, -1..1, 0..255; not '1'",
    "color=rgba": "color must be one of",
    "layout=nchw": "layout must be one of hwc, chw",
    "mean=1/2": "mean must be one number, or three",
    "mean=nan": "mean must be one number, or three",
    "deviation=0": "deviation must not be 0",
    "max_pixels=0": "max_pixels must be a whole number",
    "size=1x1,size=2x2": "size must be given once",
}


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_a_wrong_description_is_refused(description: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        Preprocessing.parse(description)

    assert DESCRIPTIONS[description] in str(raised.value)


def test_a_wrong_word_is_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match="scale must be one of"):
        Preprocessing(scale="0..2")  # type: ignore[arg-type]


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
