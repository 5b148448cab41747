"""What a server of the tests serves: signatures, and what computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.errors import ItemError
from transforms.predictors.base import Outcome, Predictor, Signature, TensorSpec, VersionedOutputs
from transforms.predictors.functions import Tensors
from transforms.records import FileBytes, FileRef, Outputs

Row = Mapping[str, Any]
"""What one item gives to each input: `bytes` for a string, else an array or a scalar of NumPy."""


@dataclass(frozen=True)
class Served:
    """A signature, and what computes a batch; a `ValueError` refuses it."""

    signature: Signature
    compute: Callable[[Tensors], Tensors]


def of_rows(signature: Signature, function: Callable[[Sequence[Row]], Sequence[Outputs]]) -> Served:
    """Serve a function of items, which returns the outputs of each."""

    def compute(tensors: Tensors) -> Tensors:
        count = len(next(iter(tensors.values())))
        rows = [{name: column[index] for name, column in tensors.items()} for index in range(count)]
        return columns(function(rows), signature.outputs)

    return Served(signature, compute)


def of_predictor(predictor: Predictor, input_name: str = "bytes") -> Served:
    """Serve a loaded predictor, which takes files' bytes, as a model with one input of bytes."""
    outputs = predictor.signature.outputs
    signature = Signature(predictor.signature.name, (TensorSpec(input_name, "string", (None,)),), outputs)

    def predict(rows: Sequence[Row]) -> Sequence[Outputs]:
        files = [FileBytes(FileRef("of the request"), row[input_name]) for row in rows]
        return [_outputs(outcome) for outcome in predictor.predict(files)]

    return of_rows(signature, predict)


def _outputs(outcome: Outcome) -> Outputs:
    if isinstance(outcome, ItemError):
        raise ValueError(str(outcome)) from outcome
    return outcome.outputs if isinstance(outcome, VersionedOutputs) else outcome


def columns(rows: Sequence[Outputs], specs: Sequence[TensorSpec]) -> Tensors:
    """Put the outputs of items together."""
    return {
        spec.name: np.stack(
            [np.asarray(row[spec.name], object if spec.dtype == "string" else spec.dtype) for row in rows]
        )
        for spec in specs
    }
