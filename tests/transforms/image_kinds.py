"""Encoded images of every kind, and what becomes of them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from transforms.errors import DecodeError
from transforms.predictors.base import TensorSpec
from transforms.predictors.images import ImagePreparation
from transforms.predictors.preprocessing import Preprocessing

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
