"""From encoded images to the numbers that a model takes.

The pixels are those of `image_files`. Resizing smooths what it makes smaller, as `tf.image.resize` does with
`antialias=True` and not by default, and rounds to 8 bits.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.errors import DecodeError, ItemError, ModelError
from transforms.predictors.arrays import numpy_dtype
from transforms.predictors.base import TensorSpec
from transforms.predictors.image_files import decode_image, reason, silence_pillow
from transforms.predictors.preprocessing import SCALES, Order, Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = np.ndarray[Any, Any]

_CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1}
_GRAY_RANK = 2  # height, width
_COLOR_RANK = 3  # ... and channels


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
        silence_pillow()
        return list(_threads().map(self._decode, contents))

    def _decode(self, content: bytes) -> Pixels | ItemError:
        try:
            return self._numbers(np.asarray(_resized(decode_image(content, self.how), self.how)))
        except DecodeError as error:
            return error
        except Exception as error:  # decoders raise errors of many kinds for damaged files
            return DecodeError(f"the image cannot be decoded: {reason(error)}")

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
        shift, factor = SCALES[self.how.effective_scale]
        mean, deviation = np.asarray(self.how.mean or 0.0), np.asarray(self.how.deviation or 1.0)
        return np.float32(shift + mean * factor), np.float32(factor * deviation)


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
def _threads() -> ThreadPoolExecutor:
    """Return the threads that decode, which all models of a process share."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")


os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive in the child
