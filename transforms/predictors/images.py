"""From encoded images to the numbers that a model takes.

What is decoded: JPEG, PNG, WebP, BMP and GIF (its first frame), told by their content and not by their names.
What is done to the pixels follows TensorFlow's `decode_image`, with which most models are trained: alpha is
dropped, gray becomes three equal channels, 16-bit samples lose their lower byte, and EXIF's orientation is
ignored unless it is asked for.
"""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from transforms.errors import DecodeError, ItemError, ModelError
from transforms.predictors.base import TensorSpec

Resize = Literal["stretch", "pad", "crop"]
Color = Literal["rgb", "bgr", "gray"]
Orientation = Literal["ignore", "apply"]
Pixels = np.ndarray[Any, Any]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 100_000_000

_SCALES = {"0..1": (0.0, 255.0), "-1..1": (127.5, 127.5), "0..255": (0.0, 1.0)}
"""What is subtracted from 0..255, and what it is divided by."""

_CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1}
_GRAY_RANK = 2  # height, width
_COLOR_RANK = 3  # ... and channels


@dataclass(frozen=True)
class Preprocessing:
    """How images were prepared when the model was trained.

    Attributes:
        size: Width and height in pixels; None to take them from the signature.
        resize: `stretch` to the size; keep the proportions and `pad` with black; or `crop` what stands over.
        scale: `0..1`, `-1..1` or `0..255`; not used with `mean`.
        mean: To subtract from 0..255: one number, or one for each channel.
        deviation: To divide by after that.
        color: The order of the channels, or one channel of gray.
        orientation: Whether to `apply` EXIF's orientation, or to `ignore` it as TensorFlow does.
        max_pixels: Larger images are not decoded.
    """

    size: tuple[int, int] | None = None
    resize: Resize = "stretch"
    scale: str = "0..1"
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    color: Color | None = None
    orientation: Orientation = "ignore"
    max_pixels: int = MAX_PIXELS

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
    def of(cls, spec: TensorSpec) -> Layout | None:
        """Tell the layout from an input's shape; None where it takes no images."""
        shape = spec.item_shape
        if spec.dtype in ("string", "bool") or shape is None:
            return None
        if len(shape) == _GRAY_RANK:
            return cls(height=shape[0], width=shape[1], channels=0)
        if len(shape) != _COLOR_RANK:
            return None
        if shape[2] in (None, 1, 3):
            return cls(height=shape[0], width=shape[1], channels=shape[2])
        if shape[0] in (1, 3):
            return cls(height=shape[1], width=shape[2], channels=shape[0], channels_first=True)
        return None


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
        layout = Layout.of(spec)
        if layout is None:
            raise ModelError(f"input {spec} takes no images: it needs height, width and 1 or 3 channels")
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
        if spec.dtype == "uint8" and (how.scale != "0..255" or how.mean or how.deviation):
            raise ModelError(f"--preprocess: input {spec} takes whole numbers; pass scale=0..255")
        return cls(replace(how, size=size, color=color), layout, spec.dtype)

    def decode(self, contents: Sequence[bytes]) -> Sequence[Pixels | ItemError]:
        """See `ImageDecoder.decode`."""
        return list(_threads().map(self._decode, contents))

    def _decode(self, content: bytes) -> Pixels | ItemError:
        try:
            return self._numbers(self._pixels(content))
        except DecodeError as error:
            return error
        except Exception as error:  # decoders raise errors of many kinds for damaged files
            return DecodeError(f"the image cannot be decoded: {error}")

    def _pixels(self, content: bytes) -> Pixels:
        """Return an array of uint8 [height, width, channels]."""
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > self.how.max_pixels:
                raise DecodeError(
                    f"the image has {image.width} x {image.height} pixels; at most {self.how.max_pixels:,} "
                    "are decoded (--preprocess max_pixels=N)"
                )
            turned = ImageOps.exif_transpose(image) if self.how.orientation == "apply" else image
            channels = _eight_bits(turned).convert("L" if self.how.color == "gray" else "RGB")
        return np.asarray(self._resized(channels))

    def _resized(self, image: Any) -> Any:
        from PIL import Image, ImageOps

        size = self.how.size or image.size
        if image.size == size:
            return image
        if self.how.resize == "pad":
            return ImageOps.pad(image, size, Image.Resampling.BILINEAR)
        if self.how.resize == "crop":
            return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        return image.resize(size, Image.Resampling.BILINEAR)

    def _numbers(self, pixels: Pixels) -> Pixels:
        subtract, divide = (np.float32(value) for value in self._normalization())
        if self.how.color == "bgr":
            pixels = pixels[..., ::-1]
        if self.layout.channels != 0 and pixels.ndim == _GRAY_RANK:
            pixels = pixels[..., np.newaxis]
        if self.dtype != "uint8":
            pixels = (pixels - subtract) / divide
        if self.layout.channels_first:
            pixels = np.moveaxis(pixels, -1, 0)
        return np.ascontiguousarray(pixels, self.dtype)

    def _normalization(self) -> tuple[Any, Any]:
        """Return what is subtracted from 0..255, and what the difference is divided by."""
        if self.how.mean or self.how.deviation:
            return self.how.mean or 0.0, self.how.deviation or 1.0
        return _SCALES[self.how.scale]


def _eight_bits(image: Any) -> Any:
    """Drop the lower byte of 16-bit samples, which Pillow would clip instead."""
    if not image.mode.startswith("I"):
        return image
    from PIL import Image

    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")


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
    if len(numbers) not in (1, 3):
        raise ValueError("one number, or three with a slash between them, such as 123.7/116.3/103.5")
    return numbers


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise ValueError("a whole number of at least 1")
    return int(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "size": _size,
    "resize": _one_of(*get_args(Resize)),
    "scale": _one_of(*_SCALES),
    "mean": _numbers,
    "deviation": _numbers,
    "color": _one_of(*get_args(Color)),
    "orientation": _one_of(*get_args(Orientation)),
    "max_pixels": _whole,
}
"""The parts of a description, which are the fields of `Preprocessing`."""
