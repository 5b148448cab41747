"""Image files of every kind, decoded; TensorFlow's decoder is the reference."""

from __future__ import annotations

import io
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

from tests.transforms.image_kinds import (
    AS_IN_TENSORFLOW,
    COLOR,
    HEIGHT,
    JPEGS,
    PALETTE,
    RGB,
    RGBA,
    WIDTH,
    chunk,
    encoded,
    pixels,
    refusal,
)
from transforms.predictors import image_files
from transforms.predictors.tensorflow_runtime import import_tensorflow

ROOT = Path(__file__).parents[3]

WITHOUT_REFERENCE = {
    "webp rgba": (encoded(RGBA, "WEBP", lossless=True, exact=True), RGB),
    "webp animated": (
        encoded(COLOR, "WEBP", lossless=True, save_all=True, append_images=[COLOR.rotate(90)]),
        RGB,
    ),
    "bmp palette": (encoded(PALETTE, "BMP"), np.asarray(PALETTE.convert("RGB"))),
    "bmp 1 bit": (encoded(COLOR.convert("1"), "BMP"), np.asarray(COLOR.convert("1").convert("RGB"))),
}


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
    monkeypatch.setattr(image_files, "_simplejpeg", lambda: None)

    np.testing.assert_array_equal(fast, pixels(JPEGS[kind]))


def test_what_the_fast_decoder_refuses_goes_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        @staticmethod
        def decode_jpeg(*_: Any, **__: Any) -> None:
            raise ValueError("unsupported")

    expected = pixels(JPEGS["jpeg"])
    monkeypatch.setattr(image_files, "_simplejpeg", lambda: Refuses)

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
    monkeypatch.setattr(image_files, "_simplejpeg", lambda: None)

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
        "from transforms.predictors.base import TensorSpec\n"
        "from transforms.predictors.images import ImagePreparation\n"
        "from transforms.predictors.preprocessing import Preprocessing\n"
        "how = Preprocessing(size=(8, 8), orientation='apply', max_pixels=10**9)\n"
        "spec = TensorSpec('x', 'float32', (None, None, None, 3))\n"
        f"print([type(o).__name__ for o in ImagePreparation.of(how, spec).decode({files!r})])"
    )

    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "['ndarray', 'ndarray', 'DecodeError']"
    assert done.stderr == ""
