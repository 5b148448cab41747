"""From encoded images to the numbers that a model takes.

What is decoded: JPEG, PNG, WebP, BMP and GIF (its first frame), told by their content and not by their names.

What is done to the pixels follows TensorFlow's `decode_image`, with which most models are trained: alpha is
dropped, gray becomes three equal channels, 16-bit samples lose their lower byte, what is transparent in a GIF
is black, and EXIF's orientation is ignored unless it is asked for. For PNG, WebP and GIF, and for BMP without
a palette, the pixels are TensorFlow's own. What differs:

- JPEG goes through the accurate inverse transform, whose pixels differ by up to 5/255, and by 1/255 in the
  mean, from those of TensorFlow's default, the fast one; `dct_method="INTEGER_ACCURATE"` gives the same.
- The colors of a BMP with a palette are decoded; TensorFlow takes their numbers for gray, or refuses it.
- WebP may have alpha or several frames, which TensorFlow refuses where three channels are asked for.
- Resizing smooths what it makes smaller, as `tf.image.resize` does with `antialias=True` and not by default,
  and rounds to 8 bits.
"""

from __future__ import annotations

import functools
import importlib
import io
import math
import os
import re
import struct
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from transforms.errors import DecodeError, ItemError, ModelError
from transforms.predictors.arrays import numpy_dtype
from transforms.predictors.base import TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

Resize = Literal["stretch", "pad", "crop"]
Scale = Literal["0..1", "-1..1", "0..255"]
Color = Literal["rgb", "bgr", "gray"]
Order = Literal["hwc", "chw"]
Orientation = Literal["ignore", "apply"]
Pixels = np.ndarray[Any, Any]

MAX_PIXELS = 100_000_000

_SCALES: dict[Scale, tuple[float, float]] = {
    "0..1": (0.0, 255.0),
    "-1..1": (127.5, 127.5),
    "0..255": (0.0, 1.0),
}
"""What is subtracted from 0..255, and what it is divided by."""

_CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1}
_GRAY_RANK = 2  # height, width
_COLOR_RANK = 3  # ... and channels

_WORDS: dict[str, tuple[str, ...]] = {
    "resize": get_args(Resize),
    "scale": get_args(Scale),
    "color": get_args(Color),
    "layout": get_args(Order),
    "orientation": get_args(Orientation),
}
"""What the parts of a description may be that are words."""


@dataclass(frozen=True)
class Preprocessing:
    """How images were prepared when the model was trained.

    Attributes:
        size: Width and height in pixels; None to take them from the signature.
        resize: `stretch` to the size; keep the proportions and `pad` with black; or `crop` what stands over.
        scale: To `0..1`, `-1..1` or `0..255`. Not given: `0..255` with a mean or a deviation, else `0..1`.
        mean: What is then subtracted: one number, or one for each channel, in the order of `color`.
        deviation: What the difference is divided by, likewise.
        color: The order of the channels, or one channel of gray.
        layout: The order of height, width and channels: `hwc` or `chw`; None to tell it by the signature.
        orientation: Whether to `apply` EXIF's orientation, or to `ignore` it as TensorFlow does.
        max_pixels: Larger images are not decoded.
    """

    size: tuple[int, int] | None = None
    resize: Resize = "stretch"
    scale: Scale | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    color: Color | None = None
    layout: Order | None = None
    orientation: Orientation = "ignore"
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        """Refuse what is no description.

        Raises:
            ValueError: The message says which part must be what.
        """
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if value is not None and value not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}; not {value!r}")
        if 0.0 in self.deviation:
            raise ValueError("deviation must not be 0: the pixels are divided by it")

    @property
    def effective_scale(self) -> Scale:
        """The scale that holds where none is given."""
        return self.scale or ("0..255" if self.mean or self.deviation else "0..1")

    @classmethod
    def parse(cls, text: str) -> Preprocessing:
        """Read a description such as `size=224x224,resize=crop,scale=-1..1,color=bgr`.

        Raises:
            ValueError: It is none; the message says which part must be what.
        """
        values: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            if name not in _PARSERS:
                raise ValueError(f"has the parts {', '.join(_PARSERS)}; not {part!r}")
            if name in values:
                raise ValueError(f"{name} must be given once")
            try:
                values[name] = _PARSERS[name](value)
            except ValueError as error:
                raise ValueError(f"{name} must be {error}; not {value!r}") from None
        return cls(**values)


@dataclass(frozen=True)
class Layout:
    """How an input lays an image out; a size is None where any is taken.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: None where any number is taken, 0 where there is no dimension for them.
        channels_first: Whether they stand before height and width.
    """

    height: int | None
    width: int | None
    channels: int | None
    channels_first: bool = False

    @classmethod
    def of(cls, spec: TensorSpec, told: Order | None = None) -> Layout | None:
        """Tell the layout from an input's shape; None where it takes no images.

        Args:
            spec: The input.
            told: The order of its dimensions, where that is known.
        """
        shape = spec.item_shape
        if shape is None or not _is_number(spec.dtype):
            return None
        if len(shape) == _GRAY_RANK:
            return cls(height=shape[0], width=shape[1], channels=0)
        if len(shape) != _COLOR_RANK:
            return None
        if (told or _told_by(shape)) == "chw":
            return cls(shape[1], shape[2], shape[0], True) if shape[0] in (None, 1, 3) else None
        return cls(shape[0], shape[1], shape[2]) if shape[2] in (None, 1, 3) else None


def _told_by(shape: tuple[int | None, ...]) -> Order:
    return "chw" if shape[0] in (1, 3) and shape[2] not in (1, 3) else "hwc"


def _is_number(dtype: str) -> bool:
    return re.match(r"float|bfloat|u?int", dtype) is not None


def is_image(spec: TensorSpec) -> bool:
    """Tell whether an input may take images."""
    return Layout.of(spec) is not None


@dataclass(frozen=True)
class ImagePreparation:
    """Decode and prepare images for one input, by several threads.

    Attributes:
        how: What to do; its `size` and `color` are settled.
        layout: Of the input.
        dtype: Of the input.
    """

    how: Preprocessing
    layout: Layout
    dtype: str

    @classmethod
    def of(cls, how: Preprocessing, spec: TensorSpec) -> ImagePreparation:
        """Settle with the input's shape what the description leaves open.

        Raises:
            ModelError: The two contradict each other, or leave the size open.
        """
        layout = _layout(how, spec)
        size = how.size or (layout.width or 0, layout.height or 0)
        color = how.color or ("gray" if layout.channels in (0, 1) else "rgb")
        if 0 in size:
            raise ModelError(
                f"input {spec} takes images of any size, and a batch needs one: add size=WIDTHxHEIGHT to "
                "--preprocess"
            )
        if size != (layout.width or size[0], layout.height or size[1]):
            raise ModelError(f"--preprocess size={size[0]}x{size[1]}: input {spec} takes another")
        if layout.channels not in (None, _CHANNELS[color]) and (layout.channels, color) != (0, "gray"):
            raise ModelError(f"--preprocess color={color}: input {spec} takes another number of channels")
        for name, values in (("mean", how.mean), ("deviation", how.deviation)):
            if len(values) not in (0, 1, _CHANNELS[color]):
                raise ModelError(
                    f"--preprocess {name}: {len(values)} numbers for {_CHANNELS[color]} channels"
                )
        _check_dtype(how, spec)
        return cls(replace(how, size=size, color=color), layout, spec.dtype)

    def decode(self, contents: Sequence[bytes]) -> Sequence[Pixels | ItemError]:
        """See `ImageDecoder.decode`."""
        _silence_pillow()
        return list(_threads().map(self._decode, contents))

    def _decode(self, content: bytes) -> Pixels | ItemError:
        try:
            return self._numbers(np.asarray(_resized(_decoded(content, self.how), self.how)))
        except DecodeError as error:
            return error
        except Exception as error:  # decoders raise errors of many kinds for damaged files
            return DecodeError(f"the image cannot be decoded: {_reason(error)}")

    def _numbers(self, pixels: Pixels) -> Pixels:
        """Make of uint8 [height, width] or [height, width, channels] what the input takes."""
        if self.how.color == "bgr":
            pixels = pixels[..., ::-1]
        if self.layout.channels != 0 and pixels.ndim == _GRAY_RANK:
            pixels = pixels[..., np.newaxis]
        if self._is_float:
            subtract, divide = self._normalization()
            pixels = np.subtract(pixels, subtract, dtype=np.float32)
            np.divide(pixels, divide, out=pixels)
        if self.layout.channels_first:
            pixels = np.moveaxis(pixels, -1, 0)
        return np.ascontiguousarray(pixels, numpy_dtype(self.dtype))

    @property
    def _is_float(self) -> bool:
        return "float" in self.dtype

    def _normalization(self) -> tuple[Pixels, Pixels]:
        """Return what is subtracted from 0..255, and what the difference is divided by."""
        shift, factor = _SCALES[self.how.effective_scale]
        mean, deviation = np.asarray(self.how.mean or 0.0), np.asarray(self.how.deviation or 1.0)
        return np.float32(shift + mean * factor), np.float32(factor * deviation)


def _reason(error: Exception) -> str:
    if isinstance(
        error.__cause__ or error, (struct.error, IndexError)
    ):  # how Pillow meets the end of a header
        return "it is cut off"
    return str(error) or type(error).__name__


def _layout(how: Preprocessing, spec: TensorSpec) -> Layout:
    if spec.shape is None and _is_number(spec.dtype):  # it takes any, so an image too
        return Layout(None, None, None, how.layout == "chw")
    layout = Layout.of(spec, how.layout)
    if layout is None and how.layout and Layout.of(spec):
        raise ModelError(f"--preprocess layout={how.layout}: input {spec} has another")
    if layout is None:
        raise ModelError(f"input {spec} takes no images: it needs height, width and 1 or 3 channels")
    return layout


def _check_dtype(how: Preprocessing, spec: TensorSpec) -> None:
    if "float" in spec.dtype:
        return
    if how.effective_scale != "0..255" or how.mean or how.deviation:
        raise ModelError(f"--preprocess: input {spec} takes whole numbers; pass scale=0..255, and no mean")
    if np.iinfo(spec.dtype).max < 255:  # noqa: PLR2004
        raise ModelError(f"--preprocess: input {spec} has no room for 0..255; pass --input_kind arrays")


def _decoded(content: bytes, how: Preprocessing) -> Image:
    """Return an image in the mode L or RGB."""
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


def _resized(image: Image, how: Preprocessing) -> Image:
    import PIL.Image
    import PIL.ImageOps

    size, bilinear = how.size or image.size, PIL.Image.Resampling.BILINEAR
    if image.size == size:
        return image
    if how.resize == "crop":
        return PIL.ImageOps.fit(image, size, bilinear)
    if how.resize == "stretch":
        return image.resize(size, bilinear)
    return _padded(image, size)


def _padded(image: Image, size: tuple[int, int]) -> Image:
    """Fit an image into a size; not with `ImageOps.pad`, which fails where a side would shrink to nothing."""
    import PIL.Image

    ratio = min(size[0] / image.width, size[1] / image.height)
    fitted = [max(1, round(side * ratio)) for side in image.size]
    inner = image.resize((fitted[0], fitted[1]), PIL.Image.Resampling.BILINEAR)
    padded = PIL.Image.new(image.mode, size)
    padded.paste(inner, ((size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2))
    return padded


@functools.cache
def _silence_pillow() -> None:
    """Keep Pillow's remarks on damaged metadata off the log: they change nothing in what is decoded."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that decode, which all models of a process share."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")


os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive in the child


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise ValueError("WIDTHxHEIGHT in pixels, such as 224x224")
    return int(match.group(1)), int(match.group(2))


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, text.split("/")))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise ValueError("one number, or three with a slash between them, such as 123.7/116.3/103.5")
    return numbers


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise ValueError("a whole number of at least 1")
    return int(text)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "size": _size,
    "resize": str,
    "scale": str,
    "mean": _numbers,
    "deviation": _numbers,
    "color": str,
    "layout": str,
    "orientation": str,
    "max_pixels": _whole,
}
"""The parts of a description, which are the fields of `Preprocessing`."""
