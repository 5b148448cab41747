"""Predictors without a model, for what surrounds predictors."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transforms.errors import DecodeError, ModelUnavailable
from transforms.predictors.base import InputKind, Signature, TensorSpec
from transforms.records import FileBytes

SIGNATURE = Signature(
    "sizes",
    inputs=(TensorSpec("content", "string", (None,)),),
    outputs=(TensorSpec("size", "int64", (None,)),),
)


@dataclass
class Sizes:
    """Predict the number of bytes of each item.

    A whole batch fails with one that is `poison`; `undecodable` and `overloaded` are outcomes of their own.
    """

    model: str = "sizes of files"
    model_version: str = "1"
    signature: Signature = SIGNATURE
    input_kind: InputKind = "bytes"
    is_loaded: bool = False

    def load(self) -> None:
        self.is_loaded = True

    def warm_up(self, batch_size: int) -> None:
        assert self.is_loaded

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Any]:
        assert self.is_loaded
        if any(item.content == b"poison" for item in batch):
            raise ZeroDivisionError("there is poison")
        return [self._outcome(item.content or b"") for item in batch]

    def _outcome(self, content: bytes) -> Any:
        if content == b"undecodable":
            return DecodeError("no image")
        if content == b"overloaded":
            return ModelUnavailable("try again")
        return {"size": np.int64(len(content))}


@dataclass
class Returning(Sizes):
    """Return the same whatever it is given: for promises to break."""

    returned: Any = None

    def predict(self, batch: Sequence[FileBytes]) -> Any:
        return self.returned


@dataclass
class Logging(Sizes):
    """Write a line to a file for each call: its name, the process, the thread, and the size of the batch."""

    log: str = ""

    def load(self) -> None:
        super().load()
        self._note("load", 0)

    def warm_up(self, batch_size: int) -> None:
        super().warm_up(batch_size)
        self._note("warm_up", batch_size)

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Any]:
        self._note("predict", len(batch))
        return super().predict(batch)

    def _note(self, call: str, size: int) -> None:
        line = f"{call} {os.getpid()} {threading.get_ident()} {size}\n"
        file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line.encode())  # in one piece, beside those of other processes
        finally:
            os.close(file)


@dataclass(frozen=True)
class Call:
    """A line of a `Logging` predictor's file."""

    name: str
    process: int
    thread: int
    size: int


def calls(log: Path) -> list[Call]:
    """Read the file of a `Logging` predictor."""
    rows = [line.split() for line in log.read_text().splitlines()]
    return [Call(row[0], *map(int, row[1:])) for row in rows]
