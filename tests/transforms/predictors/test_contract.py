"""What a predictor promises, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.transforms.toy_models import items
from tests.transforms.toy_predictors import Returning
from transforms.errors import ContractError, DecodeError
from transforms.predictors.base import Signature, TensorSpec, VersionedOutputs
from transforms.predictors.contract import predict_checked

SPECS = {
    "label": TensorSpec("label", "int64", (None,)),
    "scores": TensorSpec("scores", "float32", (None, None)),
    "text": TensorSpec("text", "string", (None,)),
    "texts": TensorSpec("texts", "string", (None, 2)),
    "wide": TensorSpec("wide", "bfloat16", (None,)),
    "unknown": TensorSpec("unknown", "float64", None),
    "flag": TensorSpec("flag", "bool", (None,)),
}
RIGHT: dict[str, Any] = {
    "label": np.int64(3),
    "scores": np.zeros(10, np.float32),
    "text": "déjà",
    "texts": np.array(["a", "b"], object),
    "wide": np.float32(1),
    "unknown": np.zeros((2, 3)),
    "flag": np.True_,
}


def checked(returned: Any, batch_size: int, *names: str) -> Any:
    specs = tuple(SPECS[name] for name in names)
    predictor = Returning(signature=Signature("s", (), specs), returned=returned)
    return predict_checked(predictor, items(*[b"x"] * batch_size))


def test_outcomes_of_the_signatures_types_pass() -> None:
    outcomes = [RIGHT, DecodeError("no image"), RIGHT]
    assert checked(outcomes, 3, *SPECS) is outcomes


@pytest.mark.parametrize(
    "value", [np.zeros(()), np.float64(0), np.zeros((1, 2, 3))], ids=["0", "scalar", "3"]
)
def test_an_output_of_unknown_rank_may_have_any(value: Any) -> None:
    assert checked([{"unknown": value}], 1, "unknown")


def test_a_scalar_may_be_an_array_without_dimensions() -> None:
    assert checked([{"label": np.array(3)}], 1, "label")


@pytest.mark.parametrize("number", [0, 1, 3])
def test_another_number_of_outcomes_is_refused(number: int) -> None:
    with pytest.raises(ContractError, match=f"Returning returned {number} outcomes for a batch of 2"):
        checked([{"label": np.int64(3)}] * number, 2, "label")


@pytest.mark.parametrize("returned", [None, 5, object()], ids=["None", "number", "object"])
def test_what_is_no_sequence_is_refused(returned: Any) -> None:
    with pytest.raises(ContractError, match="Returning"):
        checked(returned, 1, "label")


@pytest.mark.parametrize(
    "outcome", [None, 3, "text", np.zeros(10), [("label", 3)]], ids=lambda v: type(v).__name__
)
def test_an_outcome_that_is_neither_outputs_nor_an_error_is_refused(outcome: Any) -> None:
    with pytest.raises(ContractError, match="Returning"):
        checked([outcome], 1, "label")


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"label": np.int64(3), "other": np.int64(3)},
        {"Label": np.int64(3)},
        {"label": np.int64(3), 7: np.int64(3)},
    ],
)
def test_other_outputs_than_the_signatures_are_refused(outputs: Any) -> None:
    with pytest.raises(ContractError, match=r"returned the outputs \[.*\]; its signature has \['label'\]"):
        checked([outputs], 1, "label")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label", np.int32(3)),
        ("label", np.float64(3)),
        ("label", 3),
        ("label", "3"),
        ("label", None),
        ("label", np.zeros(1, np.int64)),
        ("scores", np.zeros(10, np.float64)),
        ("scores", np.zeros((10, 1), np.float32)),
        ("scores", np.float32(0)),
        ("scores", [0.0, 1.0]),
        ("text", b"bytes"),
        ("text", np.array(["a"], object)),
        ("texts", "a"),
        ("unknown", np.float32(0)),
        ("flag", np.uint8(1)),
        ("flag", True),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_another_type_than_the_signatures_is_refused_with_both(name: str, value: Any) -> None:
    expected = SPECS[name].dtype
    with pytest.raises(
        ContractError, match=rf"for the output '{name}'; its signature says {expected} of rank"
    ):
        checked([{name: value}], 1, name)


def test_one_wrong_outcome_among_many_is_found() -> None:
    right, wrong = {"label": np.int64(3)}, {"label": np.int32(3)}
    with pytest.raises(ContractError, match="returned int32 of rank 0"):
        checked([right] * 31 + [wrong], 32, "label")


def test_outputs_of_another_version_are_checked_as_well() -> None:
    right = VersionedOutputs({"label": np.int64(3)}, "8")
    assert checked([right], 1, "label") == [right]
    with pytest.raises(ContractError, match="returned int32 of rank 0"):
        checked([right, VersionedOutputs({"label": np.int32(3)}, "8")], 2, "label")
