"""What a predictor promises, checked: nothing of a broken promise reaches a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transforms.errors import ContractError, ItemError
from transforms.predictors.base import Outcome, Predictor, Signature, TensorSpec, VersionedOutputs
from transforms.predictors.outputs import WRITTEN_AS
from transforms.records import FileBytes


def predict_checked(predictor: Predictor, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
    """Predict on a batch, and see that there is one outcome for each item, of the signature's types.

    Raises:
        ContractError: It is not so.
    """
    outcomes = predictor.predict(batch)
    name = type(predictor).__name__
    if not isinstance(outcomes, Sequence):
        raise ContractError(f"{name} returned {type(outcomes).__name__}; it must return a list of outcomes")
    if len(outcomes) != len(batch):
        raise ContractError(
            f"{name} returned {len(outcomes)} outcomes for a batch of {len(batch)}; "
            "it must return one for each item, in order"
        )
    expected = _expected(predictor.signature)
    for outcome in outcomes:
        if isinstance(outcome, VersionedOutputs):
            outcome = outcome.outputs  # noqa: PLW2901
        if isinstance(outcome, Mapping):
            _check_outputs(name, outcome, expected)
        elif not isinstance(outcome, ItemError):
            raise ContractError(
                f"{name} returned {type(outcome).__name__} as an outcome; it must be a mapping of outputs, "
                "or an ItemError"
            )
    return outcomes


def _expected(signature: Signature) -> dict[str, tuple[str, int | None]]:
    """Return the dtype and the rank of each output of one item."""
    return {spec.name: (WRITTEN_AS.get(spec.dtype, spec.dtype), _rank(spec)) for spec in signature.outputs}


def _rank(spec: TensorSpec) -> int | None:
    return None if spec.item_shape is None else len(spec.item_shape)


def _check_outputs(
    predictor: str, outputs: Mapping[str, Any], expected: dict[str, tuple[str, int | None]]
) -> None:
    if outputs.keys() != expected.keys():
        raise ContractError(
            f"{predictor} returned the outputs {sorted(outputs, key=str)}; "
            f"its signature has {sorted(expected)}"
        )
    for name, (dtype, rank) in expected.items():
        value = outputs[name]
        found = ("string", 0) if isinstance(value, str) else (_dtype(value), getattr(value, "ndim", None))
        if found[0] != dtype or rank not in (None, found[1]):
            raise ContractError(
                f"{predictor} returned {found[0]} of rank {found[1]} for the output {name!r}; "
                f"its signature says {dtype} of rank {rank}"
            )


def _dtype(value: Any) -> str:
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return type(value).__name__
    return "string" if dtype.kind == "O" else str(dtype)
