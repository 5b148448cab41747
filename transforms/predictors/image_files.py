"""From encoded images to pixels of 8 bits.

What is decoded: JPEG, PNG, WebP, BMP and GIF (its first frame), told by their content and not by their names.

The pixels follow TensorFlow's `decode_image`, with which most models are trained: alpha is dropped, gray
becomes three equal channels, 16-bit samples lose their lower byte, what is transparent in a GIF is black, and
EXIF's orientation is ignored unless it is asked for. For PNG, WebP and GIF, and for BMP without a palette,
they are TensorFlow's own. What differs:

- JPEG goes through the accurate inverse transform, whose pixels differ by up to 5/255, and by 1/255 in the
  mean, from those of TensorFlow's default, the fast one; `dct_method="INTEGER_ACCURATE"` gives the same.
- The colors of a BMP with a palette are decoded; TensorFlow takes their numbers for gray, or refuses it.
- WebP may have alpha or several frames, which TensorFlow refuses where three channels are asked for.
"""

from __future__ import annotations

import functools
import importlib
import io
import re
import struct
import warnings
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from transforms.errors import DecodeError
from transforms.predictors.preprocessing import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image


def decode_image(content: bytes, how: Preprocessing) -> Image:
    """Decode the bytes of a file.

    Returns:
        An image in the mode L, where gray is asked for, or RGB; turned, but not resized.

    Raises:
        DecodeError: They are no image of the formats above, or one with too many pixels.
        Exception: The file is damaged: decoders raise errors of many kinds for that; see `reason`.
    """
    import PIL.Image

    with _opened(content) as image:
        if image.width * image.height > how.max_pixels:
            raise DecodeError(
                f"the image has {image.width} x {image.height} pixels; at most {how.max_pixels:,} "
                "are decoded (--preprocess max_pixels=N)"
            )
        turn = _TURNS.get(_orientation(image)) if how.orientation == "apply" else None
        decoded = _eight_bits(image, content)
        decoded.load()
    mode = "L" if how.color == "gray" else "RGB"
    pixels = decoded if decoded.mode == mode else decoded.convert(mode)  # which would copy them in any case
    return pixels.transpose(PIL.Image.Transpose[turn]) if turn else pixels


def reason(error: Exception) -> str:
    """Tell what is wrong with a damaged file, by the error that it made a decoder raise."""
    cause = error.__cause__ or error
    if isinstance(cause, (struct.error, IndexError)):  # how Pillow meets the end of a header
        return "it is cut off"
    return str(error) or type(error).__name__


@functools.cache
def silence_pillow() -> None:
    """Keep Pillow's remarks on damaged metadata off the log: they change nothing in what is decoded."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _opened(content: bytes) -> Image:
    """Read an image's header, and none of its pixels.

    Not with `PIL.Image.open`: it has a limit of pixels too, but one for the whole process.
    """
    for mark, module, opener in _FORMATS:
        if re.match(mark, content, re.DOTALL):
            opened = getattr(importlib.import_module(f"PIL.{module}"), opener)(io.BytesIO(content), "")
            return cast("Image", opened)
    what = next((name for mark, name in _OTHERS if re.match(mark, content, re.DOTALL)), None)
    raise DecodeError(f"not a JPEG, PNG, WebP, BMP or GIF image: the file {what or _begins_with(content)}")


def _begins_with(content: bytes) -> str:
    return f"begins with {content[:16]!r}"


_FORMATS = (
    (rb"\xff\xd8\xff", "JpegImagePlugin", "jpeg_factory"),
    (rb"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    (rb"RIFF....WEBP", "WebPImagePlugin", "WebPImageFile"),
    (rb"GIF8[79]a", "GifImagePlugin", "GifImageFile"),
    (rb"BM", "BmpImagePlugin", "BmpImageFile"),
)
"""How files of each format begin, and what of Pillow opens them."""

_OTHERS = (
    (rb"$", "is empty"),
    (rb"II\*\0|MM\0\*", "is a TIFF"),
    (rb"\s*<.{0,2000}?\bsvg\b", "is an SVG"),
    (rb"(?i:\s*<(!doctype )?html)", "is an HTML page"),
    (rb"%PDF", "is a PDF"),
    (rb"....ftyp(heic|heix|hevc|mif1)", "is a HEIC image"),
    (rb"....ftypavi", "is an AVIF image"),
    (rb"\x93NUMPY", "is a NumPy array, which --input_kind arrays takes"),
)
"""How files begin that people mistake for images that can be decoded."""

_ORIENTATION_TAG = 0x0112

_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What sets an image upright, by EXIF's orientation; Pillow turns against the clock."""


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF data turn nothing
        return 1


def _eight_bits(image: Image, content: bytes) -> Image:
    """Decode an image to 8 bits a sample, without the alpha that its format adds to the pixels."""
    if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
        return _fast_jpeg(image, content) or image
    if image.mode.startswith("I"):
        return _upper_bytes(image)
    if image.format == "GIF" and "transparency" in image.info:
        return _over_black(image)
    image.info.pop("transparency", None)  # else Pillow warns of it, and drops it too
    return image


def _fast_jpeg(image: Image, content: bytes) -> Image | None:
    """Decode a JPEG with simplejpeg, to the pixels that Pillow would give; None where that cannot be."""
    import PIL.Image

    decoder = _simplejpeg()
    if decoder is None:
        return None
    try:
        pixels = decoder.decode_jpeg(content, "GRAY" if image.mode == "L" else "RGB", strict=True)
    except ValueError:  # damaged, or of a kind that it does not know: Pillow decides
        return None
    return PIL.Image.fromarray(pixels.squeeze(-1) if image.mode == "L" else pixels)


@functools.cache
def _simplejpeg() -> Any:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def _upper_bytes(image: Image) -> Image:
    """Drop the lower byte of 16-bit samples, which Pillow would clip instead."""
    import PIL.Image

    return PIL.Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))


def _over_black(image: Image) -> Image:
    import PIL.Image

    black = PIL.Image.new("RGBA", image.size, (0, 0, 0, 255))
    black.alpha_composite(image.convert("RGBA"))
    return black
