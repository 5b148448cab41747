"""How images were prepared when a model was trained: what a user says of it, in one line of text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Resize = Literal["stretch", "pad", "crop"]
Scale = Literal["0..1", "-1..1", "0..255"]
Color = Literal["rgb", "bgr", "gray"]
Order = Literal["hwc", "chw"]
Orientation = Literal["ignore", "apply"]

MAX_PIXELS = 100_000_000

SCALES: dict[Scale, tuple[float, float]] = {
    "0..1": (0.0, 255.0),
    "-1..1": (127.5, 127.5),
    "0..255": (0.0, 1.0),
}
"""What is subtracted from 0..255, and what it is divided by."""

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

    def __str__(self) -> str:
        """Write the description as `parse` reads it, with the scale that holds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["scale"] = self.effective_scale
        if self.max_pixels == MAX_PIXELS:
            del values["max_pixels"]
        return ",".join(f"{name}={_written(name, value)}" for name, value in values.items() if value)


def _written(name: str, value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return ("x" if name == "size" else "/").join(map(str, value))


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
