"""Requests to warm a model up with, recorded by TensorFlow Serving.

A SavedModel may hold a file `assets.extra/tf_serving_warmup_requests`: `PredictionLog`s, framed as TFRecords.
They are real requests, so they warm up also models that refuse made-up items. Source of the formats:
`tensorflow_serving/apis/prediction_log.proto`, `predict.proto`, `model.proto`; TensorFlow's
`core/lib/io/record_writer.h`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import google_crc32c
import numpy as np
from google.protobuf import message

from transforms import storage
from transforms.errors import ReadError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.functions import Tensors
from transforms.predictors.messages import Messages, message_classes
from transforms.predictors.remote.tensor_protos import TENSOR_MESSAGES, read_tensor, tensor_spec

REQUESTS = "assets.extra/tf_serving_warmup_requests"
MAX_REQUESTS = 1_000  # as many as TensorFlow Serving takes
MAX_BYTES = 512 << 20

_DEFAULT_SIGNATURE = "serving_default"  # which a request means that names none

_MESSAGES: Messages = {
    "PredictionLog": {"predict": (6, ".PredictLog", False)},
    "PredictLog": {"request": (1, ".Request", False)},
    "Request": {"model": (1, ".Model", False), "inputs": (2, ".Input", True)},
    "Model": {"signature": (3, "string", False)},
    "Input": {"key": (1, "string", False), "value": (2, ".TensorProto", False)},
    **TENSOR_MESSAGES,
}


def recorded_requests(folder: str, signature: Signature) -> list[Tensors]:
    """Read the requests that were recorded for a signature; none where there is no file of them.

    Args:
        folder: Of the SavedModel.
        signature: Requests for others, and those that are no predictions, are left out.

    Raises:
        ValueError: The file is damaged, or holds a request that the signature cannot take.
    """
    path = storage.join(folder, REQUESTS)
    try:
        content = storage.read(path, MAX_BYTES) if storage.exists(path) else b""
    except ReadError as error:
        raise ValueError(str(error)) from error
    try:
        logs = [_classes()["PredictionLog"].FromString(record) for record in _records(content)]
    except message.DecodeError as error:
        raise ValueError(f"{path} holds something else than PredictionLogs") from error
    requests = (log.predict.request for log in logs[:MAX_REQUESTS] if log.HasField("predict"))
    wanted = (
        request for request in requests if (request.model.signature or _DEFAULT_SIGNATURE) == signature.name
    )
    return list(_bounded(_tensors(request, signature) for request in wanted))


def resized(request: Tensors, size: int) -> Tensors:
    """Repeat or cut the rows of a request, so that it is a batch of a size."""
    return {
        name: np.resize(values, (size, *values.shape[1:])) if values.ndim and len(values) else values
        for name, values in request.items()
    }


def _bounded(requests: Iterable[Tensors]) -> Iterator[Tensors]:
    """Refuse requests that take more memory than their file may: one value may stand for any number."""
    size = 0
    for request in requests:
        size += sum(values.nbytes for values in request.values())
        if size > MAX_BYTES:
            raise ValueError(f"the requests in {REQUESTS} take more than {MAX_BYTES:,} bytes")
        yield request


def _records(content: bytes) -> Iterator[bytes]:
    """Take TFRecords apart: each is its length, a checksum of that, itself, and a checksum of itself."""
    position = 0
    while position < len(content):
        (length,) = struct.unpack("<Q", _checked(content, position, 8))
        yield _checked(content, position + 12, length)
        position += 16 + length


def _checked(content: bytes, position: int, length: int) -> bytes:
    end = position + length
    part, checksum = content[position:end], content[end : end + 4]
    crc = google_crc32c.value(part)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if checksum != struct.pack("<I", masked):
        raise ValueError(f"the record at byte {position} of {REQUESTS} is cut off or damaged")
    return part


def _tensors(request: Any, signature: Signature) -> Tensors:
    given: Mapping[str, Any] = {entry.key: entry.value for entry in request.inputs}
    wanted = {spec.name: spec for spec in signature.inputs}
    if given.keys() != wanted.keys():
        raise ValueError(f"a request in {REQUESTS} has the inputs {sorted(given)}; {signature} takes others")
    return {name: _array(given[name], wanted[name]) for name in given}


def _array(tensor: Any, spec: TensorSpec) -> np.ndarray[Any, Any]:
    try:
        dtype, shape = tensor_spec(tensor)
        if dtype == spec.dtype and spec.accepts(shape):
            return read_tensor(tensor, MAX_BYTES)
    except ValueError as error:
        raise ValueError(f"a request in {REQUESTS} has {error}") from error
    raise ValueError(f"a request in {REQUESTS} has {dtype} of the shape {list(shape)} for {spec}")


@functools.cache
def _classes() -> dict[str, Any]:
    return message_classes(_MESSAGES)
