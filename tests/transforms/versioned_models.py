"""Models with numbered versions, made on the fly, and how they come to where they are looked for."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transforms.predictors.open_model import open_model
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.predictors.versions import VersionedModel
from transforms.records import FileBytes, FileRef

SECONDS = 60.0
STEP = 1_000

SAVED_MODEL = "saved_model.pb"
INDEX = "variables/variables.index"
WEIGHTS = "variables/variables.data-00000-of-00001"
ASSET = "assets/vocabulary.txt"


@functools.cache
def saved(number: int, *, output: str = "sum", fails_on: bytes = b"fails", rows: bool = True) -> Path:
    """Save a model, once for all tests, that adds `STEP` for each version to the length of the content.

    Args:
        number: Of the version; it is kept in a variable.
        output: The name of the output.
        fails_on: A content that fails the whole batch.
        rows: Whether there is an output for each item, as there must be, or one for all.
    """
    tf = import_tensorflow()
    folder = Path(tempfile.mkdtemp(dir=_folder()), "model")
    vocabulary = folder.with_name("vocabulary.txt")
    vocabulary.write_text("one\n")
    model = tf.Module()
    model.vocabulary = tf.saved_model.Asset(str(vocabulary))
    model.number = tf.Variable(STEP * number, dtype=tf.int64)
    model.weights = tf.Variable(tf.zeros(10_000))  # so that there is something to free

    def add(content: Any) -> Any:
        bad = tf.reduce_any(content == fails_on)
        with tf.control_dependencies([tf.debugging.Assert(~bad, ["the content is bad"])]):
            sums = tf.cast(tf.strings.length(content), tf.int64) + model.number
        return {output: sums if rows else tf.repeat(sums, 2)}

    specs = [tf.TensorSpec((None,), tf.string, "content")]
    signature = tf.function(add, input_signature=specs).get_concrete_function()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": signature})
    return folder


@functools.cache
def _folder() -> str:
    """Make a folder that is deleted when the process ends."""
    folder = tempfile.mkdtemp(prefix="versioned-models-")
    atexit.register(shutil.rmtree, folder)
    return folder


def publish(models: Path, number: int, name: str | None = None, **traits: Any) -> Path:
    """Put a version among others at once, as a rename does; see `saved` for its traits."""
    copy = models.with_name(f"copy-of-{number}")
    shutil.copytree(saved(number, **traits), copy)
    models.mkdir(exist_ok=True)
    return copy.rename(models / (name or str(number)))


def versioned(models: Path) -> VersionedModel:
    """Tell how the versions of a model are opened."""
    return VersionedModel(str(models), functools.partial(open_model, signature="serving_default"))


def items(*contents: bytes) -> list[FileBytes]:
    """Return files of these contents, whose names do not matter."""
    return [FileBytes(FileRef(f"{number}.bin"), content) for number, content in enumerate(contents)]


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: It has not become so.
    """
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        pause.wait(0.01)
