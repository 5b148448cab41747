"""From a model's place to a predictor.

A folder that holds `saved_model.pb` is a SavedModel, whatever else is in it. The other kinds of models are
files, told by how their names end. A folder that holds one such file stands for it.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from transforms import storage
from transforms.errors import FileMissing, ModelError, NotAFile, ReadError
from transforms.predictors.choose_feed import Wishes, choose_feed
from transforms.predictors.completeness import READABLE, SAVED_MODEL, models_among
from transforms.predictors.engines import EngineWish, with_engine
from transforms.predictors.functions import Chain, Function
from transforms.predictors.images import is_image
from transforms.predictors.keras_file import KerasFunction, local_model_file
from transforms.predictors.local import LocalPredictor
from transforms.predictors.saved_model import DEFAULT_SIGNATURE, SavedModelFunction
from transforms.predictors.saved_model_files import fingerprint, read_signatures
from transforms.predictors.tflite import TfliteFunction
from transforms.records import FileRef

PREPROCESS_SIGNATURE = "preprocess"

_HASHED_BYTES = 1 << 20  # at a time


@dataclass(frozen=True)
class ModelKind:
    """A kind of model.

    Attributes:
        title: As users call it.
        make: Makes a function of a path and the name of a signature.
        fingerprint: Tells one model from another by its content.
    """

    title: str
    make: Callable[[str, str], Function]
    fingerprint: Callable[[str], str]


@dataclass(frozen=True)
class FoundModel:
    """A model, and where it was found.

    Attributes:
        kind: What it is.
        path: The folder of a SavedModel, or the file.
    """

    kind: ModelKind
    path: str

    def function(self, signature: str = DEFAULT_SIGNATURE) -> Function:
        """Make a function of one of its signatures; nothing is loaded yet.

        Raises:
            ModelError: The model cannot have such a signature.
        """
        return self.kind.make(self.path, signature)

    def fingerprint(self) -> str:
        """Tell the model from others by its content: 16 hexadecimal digits.

        Raises:
            ModelError: It cannot be read.
        """
        return self.kind.fingerprint(self.path)

    def fingerprint_of_copy(self) -> str:
        """Tell the same of what is loaded on this machine, for which nothing is read twice.

        Raises:
            ModelError: It cannot be read, or cannot be copied to this machine.
        """
        return self.kind.fingerprint(local_model_file(self.path))


def open_model(
    model: str,
    signature: str = DEFAULT_SIGNATURE,
    wishes: Wishes | None = None,
    engine: EngineWish | None = None,
) -> LocalPredictor:
    """Make a predictor of a model; only a Keras file is loaded for it, and freed again.

    Args:
        model: The folder of a SavedModel, a Keras file (`.keras`, `.h5`), a TensorFlow Lite file (`.tflite`),
            or a folder that holds one such file.
        signature: Which of its signatures to call.
        wishes: What the signature does not tell of how it is fed.
        engine: What computes the signature; None for TensorFlow.

    Raises:
        ModelError: The model cannot be read, lacks the signature, or cannot be fed; or the engine cannot
            compute it.

    Example:
        >>> predictor = open_model("examples/digits/model", "from_bytes")
        >>> predictor.load()
        >>> name = "examples/digits/images/0030.png"
        >>> predictor.predict([FileBytes(FileRef(name), open(name, "rb").read())])
    """
    found, wishes = find_model(model), wishes or Wishes()
    function = found.function(signature)
    if wishes.preprocessing is None and wishes.kind not in ("images", "arrays"):
        function = _with_preprocessing(found, function)
    feed = choose_feed(function.signature, wishes)
    content = found.fingerprint()
    computed = with_engine(function, engine or EngineWish())
    return LocalPredictor(model, content, computed, feed, source=found, content=content)


def find_model(model: str) -> FoundModel:
    """Tell what kind of model a name stands for.

    Args:
        model: A folder or a file, local or on any file system that the project reads.

    Raises:
        ModelError: There is no model, or there are several.
    """
    try:
        return _find(model)
    except ReadError as error:
        raise ModelError(f"--model {model} cannot be read: {error}") from error


def fingerprint_file(path: str) -> str:
    """Tell one file from another by its content: 16 hexadecimal digits.

    Raises:
        ModelError: It cannot be read.
    """
    digest = hashlib.blake2b(digest_size=8)
    try:
        with open(local_model_file(path), "rb") as file:
            while block := file.read(_HASHED_BYTES):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"--model {path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


_KERAS = ModelKind("Keras file", KerasFunction, fingerprint_file)

KINDS: Mapping[str, ModelKind] = {
    SAVED_MODEL: ModelKind("SavedModel", SavedModelFunction, fingerprint),
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".tflite": ModelKind("TensorFlow Lite file", TfliteFunction, fingerprint_file),
}
"""The kinds of models, by how the names of their files end."""

_REMEDY = (
    f"give a folder that holds {SAVED_MODEL}, as tf.saved_model.save() or model.export() writes it, or a "
    f"file that ends in {', '.join(sorted(KINDS.keys() - {SAVED_MODEL}))}"
)


def _find(model: str) -> FoundModel:
    if _is_file(model):
        return _found(model)
    names = _models_in(model)
    if names is None:
        raise ModelError(
            f"--model {model}: there is no file or folder of that name, or it is empty; {_REMEDY}"
        )
    if SAVED_MODEL in names:
        return FoundModel(KINDS[SAVED_MODEL], model)
    if len(names) > 1:
        raise ModelError(f"--model {model} holds {len(names)} models, {', '.join(names)}: give one of them")
    return _found(storage.join(model, names[0]) if names else model)


def _found(path: str) -> FoundModel:
    """Tell the kind of a file by its name."""
    if os.path.basename(path) == SAVED_MODEL:
        raise ModelError(f"--model {path} is only a part of a SavedModel: give the folder that holds it")
    for ending, kind in KINDS.items():
        if path.endswith(ending):
            return FoundModel(kind, path)
    raise ModelError(f"--model {path} is no model; {_REMEDY}")


def _is_file(name: str) -> bool:
    try:
        storage.stat(name)
    except (FileMissing, NotAFile):
        return False
    return True


def _models_in(folder: str) -> list[str] | None:
    """Name the models in a folder; None where nothing at all is in it."""
    prefix = storage.join(folder, "")
    files = {file.uri.removeprefix(prefix): file for file in _files_in(folder)}
    return sorted(models_among(files)) if files else None


def _files_in(folder: str) -> Iterator[FileRef]:
    if not storage.is_local(folder):
        return storage.glob(storage.join(glob.escape(folder), "*"))
    try:
        names = os.listdir(folder) if os.path.isdir(folder) else []  # which needs no Beam
    except OSError as error:
        raise ModelError(f"--model {folder} cannot be listed: {error.strerror}; {READABLE}") from error
    return (FileRef(storage.join(folder, name)) for name in names)


def _with_preprocessing(found: FoundModel, function: Function) -> Function:
    """Put the model's own `preprocess` signature before a function, where there is one that fits."""
    if found.kind != KINDS[SAVED_MODEL] or not any(map(is_image, function.signature.inputs)):
        return function
    if PREPROCESS_SIGNATURE not in read_signatures(found.path):
        return function
    try:
        return Chain(found.function(PREPROCESS_SIGNATURE), function)
    except ModelError:
        return function
