"""A model in a Keras file, `.keras` or `.h5`, run by TensorFlow."""

from __future__ import annotations

import importlib
import os
import re
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transforms.errors import ItemError, ModelError, ReadError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.functions import Tensors
from transforms.predictors.local_copy import local_copy
from transforms.predictors.saved_model import DEFAULT_SIGNATURE
from transforms.predictors.tensorflow_runtime import (
    call_concrete,
    import_tensorflow,
    item_error,
    summarize,
)

_HDF5_MARK = b"\x89HDF\r\n\x1a\n"
_CONFIG = "config.json"

MAX_EXPANSION = 100
"""How many times its own size an archive may unpack to; weights hardly shrink."""

_SMALL_BYTES = 1 << 28  # an archive that unpacks to less does no harm

_EXPORT = "export it as a SavedModel where it was made, with model.export(FOLDER), and give that folder"

_REASONS = (
    (
        r"`Lambda` layer",
        f"it has a Lambda layer, whose Python code Keras's safe mode does not run; {_EXPORT}",
    ),
    (r"Could not locate (\w+ '[^']+')", rf"it needs the \1, which is not part of Keras; {_EXPORT}"),
    (
        r"Unknown (\w+): '?([^'\s]+)",
        rf"it needs the \1 '\2', which an HDF5 file does not hold; save it as NAME.keras, or {_EXPORT}",
    ),
    (
        r"No model config found",
        "it holds weights without a model; load them into theirs, and save that with model.save(NAME.keras)",
    ),
)
"""What Keras's messages say, by how they can be told, in words that help."""


@dataclass
class KerasFunction:
    """A Keras model: all inputs of the model, and all its outputs.

    Inputs and outputs have the names that the model's dictionaries give them, or else those of their layers,
    where Keras has made these up without their numbers.

    Attributes:
        path: Of the file, local or on any file system that the project reads.
        signature_name: Keras files have no named signatures, so it is the default.
    """

    path: str
    signature_name: str = DEFAULT_SIGNATURE

    def __post_init__(self) -> None:
        """Refuse a signature by name.

        Raises:
            ModelError: One was asked for.
        """
        if self.signature_name != DEFAULT_SIGNATURE:
            raise ModelError(
                f"--signature {self.signature_name}: a Keras file has no named signatures; leave the flag out"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what is known of the model, and not the loaded model."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_model", "_call")}

    @cached_property
    def signature(self) -> Signature:
        """The inputs and outputs of the model.

        Its file tells only the inputs: so the model is loaded, where the predictor is made, and freed again.
        A pickled predictor carries the signature.

        Raises:
            ModelError: The model cannot be loaded, or does not tell its inputs.
        """
        if "_call" in self.__dict__:
            return _signature(self._call)
        model = _load(self.path)
        return _signature(_trace(self.path, model))

    def load(self) -> None:
        """Load the model with Keras.

        Raises:
            ModelError: Keras cannot load it.
        """
        self._model = _load(self.path)  # the traced function does not keep its variables alive
        self._call = _trace(self.path, self._model)

    @property
    def concrete(self) -> Any:
        """The traced function, which other engines convert."""
        return self._call

    def call(self, inputs: Tensors) -> Tensors:
        """See `Function.call`."""
        return call_concrete(self._call, inputs)

    def item_error(self, error: Exception) -> ItemError:
        """See `Function.item_error`."""
        return item_error(error)

    def suspects(self, inputs: Tensors) -> Collection[int]:
        """Suspect nothing: a Keras model reads no files, and all numbers look alike."""
        return ()


def local_model_file(uri: str) -> str:
    """Return the path of a model's file on this machine, copied here if need be.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        return local_copy(uri)
    except ReadError as error:
        raise ModelError(f"--model {uri} cannot be read: {error}") from error


def distinct(names: Iterable[str]) -> list[str]:
    """Number the names that occur again: `lstm`, `lstm_1`, `lstm_2`."""
    found: list[str] = []
    for name in names:
        candidates = (name, *(f"{name}_{number}" for number in range(1, len(found) + 1)))
        found.append(next(candidate for candidate in candidates if candidate not in found))
    return found


def _import_keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # TensorFlow imports Keras
    import_tensorflow()
    keras = importlib.import_module("keras")
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ModelError(f"Keras runs on {backend} here; set KERAS_BACKEND=tensorflow before it is imported")
    return keras


def _load(path: str) -> Any:
    local = local_model_file(path)
    _check_file(path, local)
    try:
        return _import_keras().models.load_model(local, compile=False, safe_mode=True)
    except ModelError:
        raise
    except Exception as error:  # Keras raises errors of many kinds for what it cannot load
        raise ModelError(f"--model {path} cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = str(error)
    for pattern, words in _REASONS:
        if match := re.search(pattern, text):
            return match.expand(words)
    telling = text.rpartition("Exception encountered: ")[2].partition("Full object config")[0].strip()
    return telling.splitlines()[0] if telling else type(error).__name__


def _check_file(model: str, local: str) -> None:
    """Tell what is no Keras file, before Keras is imported, which takes seconds."""
    try:
        with open(local, "rb") as file:
            mark = file.read(len(_HDF5_MARK))
    except OSError as error:
        raise ModelError(f"--model {model} cannot be read: {error.strerror}") from error
    is_hdf5, is_named_so = mark == _HDF5_MARK, not local.endswith(".keras")
    if is_hdf5 and not is_named_so:
        raise ModelError(f"--model {model} is an HDF5 file, as Keras 2 wrote them: name it .h5")
    if is_named_so and not is_hdf5:
        raise ModelError(f"--model {model} is not an HDF5 file, as model.save() writes them under this name")
    if not is_hdf5:
        _check_archive(model, local)


def _check_archive(model: str, local: str) -> None:
    try:
        with zipfile.ZipFile(local) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(
            f"--model {model} is not a Keras file, or is cut off ({error}); give the file that "
            "model.save(NAME.keras) wrote"
        ) from error
    if _CONFIG not in {member.filename for member in members}:
        raise ModelError(f"--model {model} is a zip archive without {_CONFIG}, so not a Keras file")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(MAX_EXPANSION * os.path.getsize(local), _SMALL_BYTES):
        raise ModelError(
            f"--model {model} claims to unpack to {unpacked:,} bytes, more than {MAX_EXPANSION} times its "
            "size; no model does"
        )


def _trace(path: str, model: Any) -> Any:
    """Make a function of tensors by name of a model, for batches of any size."""
    tf, tree = import_tensorflow(), _import_keras().tree
    inputs, outputs = _structures(path, model)
    taken, made = _named_inputs(path, inputs), _output_names(model, outputs)

    def predict(**tensors: Any) -> dict[str, Any]:
        packed = tree.pack_sequence_as(inputs, [tensors[name] for name in taken])
        return dict(zip(made, tree.flatten(model(packed, training=False)), strict=True))

    specs = {name: tf.TensorSpec((None, *x.shape[1:]), x.dtype, name) for name, x in taken.items()}
    try:
        return tf.function(predict, autograph=False).get_concrete_function(**specs)
    except Exception as error:  # as many kinds as there are layers
        raise ModelError(f"--model {path} cannot compute batches of any size: {summarize(error)}") from error


def _structures(path: str, model: Any) -> tuple[Any, Any]:
    """Return the model's inputs and its outputs, in the dictionaries and lists in which it has them."""
    try:
        if isinstance(model, _import_keras().Sequential):
            return model.inputs[0], model.outputs[0]
        return model.input, model.output
    except (AttributeError, ValueError, TypeError) as error:
        raise ModelError(
            f"--model {path} does not tell its inputs: it was saved before it was built, or is of a class of "
            f"its own; {_EXPORT}"
        ) from error


def _named_inputs(path: str, structure: Any) -> dict[str, Any]:
    tensors = _import_keras().tree.flatten(structure)
    for tensor in tensors:
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            raise ModelError(f"--model {path}: its input {tensor.name!r} is sparse or ragged; {_EXPORT}")
    # Keras numbers the inputs without a name of their own through all models of a process
    automatic = re.compile(r"^(input_layer|keras_tensor)_\d+$")
    names = _names(structure, [automatic.sub(r"\1", tensor.name) for tensor in tensors])
    return dict(zip(names, tensors, strict=True))


def _output_names(model: Any, structure: Any) -> list[str]:
    layers = getattr(model, "output_names", None) or [model.layers[-1].name]
    made_by = {layer.name: type(layer).__name__ for layer in getattr(model, "operations", model.layers)}
    return _names(structure, [_without_number(name, made_by.get(name, "")) for name in layers])


def _without_number(name: str, class_name: str) -> str:
    """Take away the number of a layer that Keras has named after its class, as `dense_3` for `Dense`.

    It numbers them through all models of a process: the same model made twice has other numbers.
    """
    stem = re.sub(r"_\d+$", "", name)
    return stem if stem.replace("_", "") == class_name.lower() else name


def _names(structure: Any, otherwise: list[str]) -> list[str]:
    """Return the key of each tensor in a structure of dictionaries, or another name for one without a key."""
    paths = [path for path, _ in _import_keras().tree.flatten_with_path(structure)]
    keys = [[key for key in path if isinstance(key, str)] for path in paths]
    return distinct(key[-1] if key else name for key, name in zip(keys, otherwise, strict=True))


def _signature(traced: Any) -> Signature:
    inputs = traced.structured_input_signature[1]
    return Signature(DEFAULT_SIGNATURE, _specs(inputs), _specs(traced.structured_outputs))


def _specs(tensors: dict[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, tensors[name].dtype.name, _shape(tensors[name])) for name in sorted(tensors)
    )


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
