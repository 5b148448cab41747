"""Reading what a SavedModel says of itself, without TensorFlow.

A SavedModel's folder holds `saved_model.pb`, whose protocol buffers list the signatures. Only the few fields
that are needed are declared here, so that the launching machine checks a model in milliseconds. Source of the
field numbers: `saved_model.proto`, `meta_graph.proto`, `tensor_shape.proto` and `types.proto` in TensorFlow's
`core/protobuf` and `core/framework`.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from google.protobuf import message

from transforms import storage
from transforms.errors import ModelError, ReadError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.messages import Messages, message_classes

SERVING_TAG = "serve"
MAX_SAVED_MODEL_BYTES = 2 << 30  # protocol buffers are at most 2 GiB

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
"""NumPy's names by the numbers of TensorFlow's `DataType`."""

_IDENTIFYING = ("variables/variables.index", "assets/")
"""What a model is beside its graph: the checksums of its weights, and its vocabularies."""

_INTERNAL_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})

SHAPE_MESSAGES: Messages = {
    "Shape": {"dims": (2, ".Dim", True), "unknown_rank": (3, "bool", False)},
    "Dim": {"size": (1, "int64", False)},
}

SIGNATURE_MESSAGES: Messages = {
    "NamedSignature": {"key": (1, "string", False), "value": (2, ".Signature", False)},
    "Signature": {"inputs": (1, ".NamedTensor", True), "outputs": (2, ".NamedTensor", True)},
    "NamedTensor": {"key": (1, "string", False), "value": (2, ".TensorInfo", False)},
    "TensorInfo": {
        "dtype": (2, "int32", False),
        "shape": (3, ".Shape", False),
        "coo_sparse": (4, "bytes", False),  # messages, of which only the presence matters
        "composite_tensor": (5, "bytes", False),
    },
    **SHAPE_MESSAGES,
}
"""What signatures are made of; `named_signatures` reads them."""

_MESSAGES: Messages = {
    "SavedModel": {"meta_graphs": (2, ".MetaGraph", True)},
    "MetaGraph": {"info": (1, ".Info", False), "signatures": (5, ".NamedSignature", True)},
    "Info": {"tags": (4, "string", True)},
    **SIGNATURE_MESSAGES,
}


def read_signatures(model: str) -> dict[str, Signature]:
    """Read the signatures of a SavedModel.

    Args:
        model: Its folder, local or on any file system that the project reads.

    Returns:
        The signatures by name, sorted.

    Raises:
        ModelError: There is no such folder, it is not a SavedModel, or it cannot be served.
    """
    saved_model = _classes()["SavedModel"]()
    try:
        saved_model.ParseFromString(_read(model, "saved_model.pb"))
    except message.DecodeError as error:
        raise ModelError(
            f"--model {model}: saved_model.pb is damaged ({error}); export the model again"
        ) from error
    graphs = [graph for graph in saved_model.meta_graphs if SERVING_TAG in graph.info.tags]
    if not graphs:
        tags = sorted({tag for graph in saved_model.meta_graphs for tag in graph.info.tags})
        raise ModelError(f"--model {model}: no graph is tagged {SERVING_TAG!r}; it has the tags {tags}")
    return named_signatures(graphs[0].signatures)


def named_signatures(entries: Any) -> dict[str, Signature]:
    """Read the signatures of a message that has them by name: those that can be called, sorted."""
    return {
        entry.key: _signature(entry.key, entry.value)
        for entry in sorted(entries, key=lambda entry: str(entry.key))
        if entry.key not in _INTERNAL_SIGNATURES
    }


def fingerprint(model: str) -> str:
    """Tell one SavedModel from another by its content: 16 hexadecimal digits.

    The large files of weights are not read: `variables.index` holds a checksum of every tensor in them.
    Models that were exported twice may have different fingerprints; a copied one keeps its own.

    Raises:
        ModelError: As for `read_signatures`.
    """
    digest = hashlib.blake2b(_read(model, "saved_model.pb"), digest_size=8)
    for name in sorted(_names(model)):
        if name.startswith(_IDENTIFYING):
            digest.update(name.encode(errors="surrogateescape"))
            digest.update(_read(model, name))
    return digest.hexdigest()


def _names(model: str) -> list[str]:
    """List the files of a model, by their names in its folder."""
    folder = storage.join(model, "")
    try:
        return [ref.uri.removeprefix(folder) for ref in storage.glob(f"{storage.escape(folder)}**")]
    except ReadError as error:
        raise ModelError(f"--model {model} cannot be listed: {error}") from error


def _read(model: str, name: str) -> bytes:
    try:
        return storage.read(storage.join(model, name), MAX_SAVED_MODEL_BYTES)
    except ReadError as error:
        raise ModelError(
            f"--model {model} is not a SavedModel: {error}; give the folder that holds saved_model.pb, "
            "as tf.saved_model.save() or model.export() wrote it"
        ) from error


def _signature(name: str, definition: Any) -> Signature:
    return Signature(name, _specs(definition.inputs), _specs(definition.outputs))


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(entry.key, _dtype(entry.value), _shape(entry.value.shape))
        for entry in sorted(tensors, key=lambda entry: str(entry.key))
    )


def _dtype(tensor: Any) -> str:
    if tensor.composite_tensor:
        return "ragged"
    return "sparse" if tensor.coo_sparse else DTYPES.get(tensor.dtype, f"dtype-{tensor.dtype}")


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    if shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dims)


@functools.cache
def _classes() -> dict[str, Any]:
    return message_classes(_MESSAGES)
