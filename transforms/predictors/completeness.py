"""Is a model's copying done? Told from its files, without loading it.

A SavedModel is complete when all is there that it names itself: `saved_model.pb` is a whole protocol buffer
with a graph to serve; the assets that this graph lists are there; and, where the graph has variables,
`variables/variables.index` is whole, and each file of weights is there and as long as the index says. Only of
the assets, vocabularies say, nothing tells how long they must be.

A model that is a single file says less of itself: it must not be empty, and a `.keras` file must end as a zip
archive does. (An object in Cloud Storage appears when it is whole.) So who takes a version while others may
still be copying it should also see that its files stay the same for a while.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import message

from transforms import storage
from transforms.errors import ReadError
from transforms.predictors.checkpoint_files import shard_sizes
from transforms.predictors.messages import Messages, message_classes
from transforms.predictors.saved_model_files import MAX_SAVED_MODEL_BYTES, SERVING_TAG
from transforms.records import FileRef

SAVED_MODEL = "saved_model.pb"
MODEL_FILES = (".keras", ".h5", ".hdf5", ".tflite")

READABLE = "let the user that runs this list it and read it"
"""What to do about a model that may not be read."""

_VARIABLES = "variables/variables"

_MESSAGES: Messages = {
    "SavedModel": {"graphs": (2, ".Graph", True)},
    "Graph": {"info": (1, ".Info", False), "saver": (3, ".Saver", False), "assets": (6, ".Asset", True)},
    "Info": {"tags": (4, "string", True)},
    "Saver": {},
    "Asset": {"filename": (2, "string", False)},
}


def models_among(files: Mapping[str, FileRef]) -> list[str]:
    """Return which files of a folder are models: `saved_model.pb`, or files such as `digits.keras`."""
    return [name for name in files if name == SAVED_MODEL or ("/" not in name and name.endswith(MODEL_FILES))]


def incompleteness(files: Mapping[str, FileRef]) -> str | None:
    """Tell what is missing of the model in a folder; None where nothing is.

    Args:
        files: The folder's files, by their names relative to it.
    """
    models = models_among(files)
    if SAVED_MODEL in models:  # other files beside it are no concern of TensorFlow Serving's either
        models = [SAVED_MODEL]
    if len(models) != 1:
        found = f"{len(models)} models ({', '.join(sorted(models))})" if models else "no model"
        return f"it holds {found}"
    (model,) = models
    try:
        problems = _saved_model(files) if model == SAVED_MODEL else _single_file(files[model])
        return next(problems, None)
    except (ReadError, ValueError) as error:
        return str(error)


def _single_file(file: FileRef) -> Iterator[str]:
    if not file.size:
        yield f"{file.uri} is empty"
    elif file.uri.endswith(".keras") and storage.is_local(file.uri) and not zipfile.is_zipfile(file.uri):
        yield f"{file.uri} is cut off"


def _saved_model(files: Mapping[str, FileRef]) -> Iterator[str]:
    graph = _served_graph(files[SAVED_MODEL])
    needed = {f"assets/{asset.filename}": 0 for asset in graph.assets}
    if graph.HasField("saver"):
        index = f"{_VARIABLES}.index"
        if index not in files:
            yield f"{index} is missing"
        needed |= _weights(files[index])
    for name, size in needed.items():
        if name not in files:
            yield f"{name} is missing"
        elif (files[name].size or 0) < size:
            yield f"{name} has {files[name].size:,} of its {size:,} bytes"


def _served_graph(file: FileRef) -> Any:
    content = storage.read(file.uri, MAX_SAVED_MODEL_BYTES)
    try:
        graphs = _classes()["SavedModel"].FromString(content).graphs
    except message.DecodeError as error:
        raise ValueError(f"{SAVED_MODEL} is cut off or damaged") from error
    served = [graph for graph in graphs if SERVING_TAG in graph.info.tags]
    if not served:
        raise ValueError(f"{SAVED_MODEL} has no graph that is tagged {SERVING_TAG!r}")
    return served[0]


def _weights(index: FileRef) -> dict[str, int]:
    try:
        sizes = shard_sizes(storage.read(index.uri, MAX_SAVED_MODEL_BYTES))
    except ValueError as error:
        raise ValueError(f"{_VARIABLES}.index: {error}") from error
    return {f"{_VARIABLES}.{ending}": size for ending, size in sizes.items()}


@functools.cache
def _classes() -> dict[str, Any]:
    return message_classes(_MESSAGES)
