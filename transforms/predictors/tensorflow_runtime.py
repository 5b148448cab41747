"""TensorFlow, imported without the noise that it makes, and its errors in a user's words."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from transforms.errors import (
    DecodeError,
    FileMissing,
    ItemError,
    ModelUnavailable,
    PredictionError,
    StorageUnavailable,
)

_IMPORTING = threading.Lock()
_REDIRECTING = threading.Lock()
_NOISE = re.compile(rb"^(WARNING: All log messages before absl|[IW]\d{4} )")

_READS_FILE = re.compile(r"node [^}]*ReadFile")
_DECODES = re.compile(r"node [^}]*[Dd]ecode")
_INNER_NAMES = re.compile(r"\{\{[^}]*\}\}|\[\[.*?\]\]|\[Op:[^\]]*\]")
_BOILERPLATE = re.compile(
    r"Graph execution error|Detected at node|<stack traces|File \"|\d+ (successful|derived)"
)
_NUMBERED = re.compile(r"^\(\d+\) [A-Z_]+:\s*")


def import_tensorflow() -> Any:
    """Import TensorFlow, which takes seconds the first time, and return it."""
    # It would take all memory of a GPU at its first use, and fail in every other process of the machine, of
    # which Dataflow starts one for each core. That is when this is read: it may have been imported before.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with _IMPORTING:  # a module is in sys.modules before it is whole
        if "tensorflow" not in sys.modules:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach us as exceptions
            with standard_error_without(_NOISE):
                importlib.import_module("tensorflow")
    return sys.modules["tensorflow"]


def call_concrete(function: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Call a concrete function of TensorFlow's with NumPy arrays, and return its outputs as such."""
    constant = import_tensorflow().constant
    outputs = function(**{name: constant(values) for name, values in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def item_error(error: Exception) -> ItemError:
    """Tell from what TensorFlow raised for one item what is wrong with that item.

    The failing node's name, which TensorFlow's messages hold, tells reading, decoding and predicting apart.
    """
    errors = import_tensorflow().errors
    text = summarize(error)
    if isinstance(error, (errors.AbortedError, errors.ResourceExhaustedError, errors.UnavailableError)):
        return ModelUnavailable(text)
    if _READS_FILE.search(str(error)):
        return FileMissing(text) if isinstance(error, errors.NotFoundError) else StorageUnavailable(text)
    if _DECODES.search(str(error)):
        return DecodeError(text)
    return PredictionError(text)


def summarize(error: Exception) -> str:
    """Shorten TensorFlow's message to what a user can act upon: without the graph's inner names."""
    message: str = getattr(error, "message", None) or str(error)
    lines = [line.strip() for line in _INNER_NAMES.sub("", message).splitlines()]
    telling = [line for line in lines if line and not _BOILERPLATE.match(line)]
    if not telling:
        return message
    # Where it has them, lines of code stand before what happened.
    return _NUMBERED.sub("", telling[-1] if 'File "' in message else telling[0])


@contextlib.contextmanager
def standard_error_without(noise: re.Pattern[bytes]) -> Iterator[None]:
    """Hold back what the process writes to standard error, and pass it on without the lines of noise.

    TensorFlow's libraries write there before they can be told not to. One thread at a time holds it back, and
    others wait, for the process has one standard error.
    """
    with _REDIRECTING:
        sys.stderr.flush()
        saved = os.dup(2)
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                held.seek(0)
                for line in held:
                    if not noise.match(line):
                        os.write(2, line)
