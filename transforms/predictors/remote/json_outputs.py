"""From the predictions of an answer in JSON to the outputs of each item, and to what these are.

A prediction is an object of outputs by name, or the bare value of the only output. Strings may come as
`{"b64": "..."}`. JSON has no types: what a number may be is told by the outputs that are expected.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, TypeGuard

import numpy as np

from transforms.errors import AnswerInvalid, ItemError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.outputs import as_outputs
from transforms.predictors.remote.json_decoding import answer_failed
from transforms.predictors.remote.wire import Action, Reply
from transforms.predictors.rows import rows_of
from transforms.records import Outputs, is_utf8, shown

ONLY_OUTPUT = "prediction"
"""What an output is called to which the server gives no name."""

_BASE64 = "b64"
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
"""Numbers as JSON has none, written as protocol buffers and `beam-predict serve` do."""

_JSON_NAMES = {
    bool: "true or false",
    dict: "objects",
    float: "fractions",
    int: "whole numbers",
    list: "lists",
    str: "strings",
}
_MAX_WHOLE = (1 << 63) - 1


def predictions_of(value: Any, count: int, reply: Reply) -> Sequence[Any]:
    """Return the predictions of an answer, of which there must be one for each item.

    Raises:
        CallFailed: `GIVE_UP`: it is no list; `BISECT`: it is of another length.
    """
    if not isinstance(value, list):
        raise answer_failed("has no list of predictions", reply.body, Action.GIVE_UP)
    if len(value) != count:
        raise answer_failed(f"has {len(value)} predictions for {count} items", reply.body, Action.BISECT)
    return value


def transposed(
    outputs: Any, count: int, reply: Reply, specs: Sequence[TensorSpec] | None = None
) -> Sequence[Any]:
    """Make a prediction for each item of outputs that each have a row for each item.

    Args:
        outputs: Tensors by name, or the only tensor.
        count: How many items there are.
        reply: The answer, for messages.
        specs: The outputs that are wanted; None for all.

    Raises:
        CallFailed: See `predictions_of`.
    """
    if not _is_named(outputs):
        return predictions_of(outputs, count, reply)
    wanted = outputs.keys() if specs is None else {spec.name for spec in specs} & outputs.keys()
    columns = {name: predictions_of(outputs[name], count, reply) for name in wanted}
    return [{name: column[number] for name, column in columns.items()} for number in range(count)]


def read_rows(predictions: Sequence[Any], specs: Sequence[TensorSpec]) -> list[Outputs | ItemError]:
    """Read the outputs of each item, or tell what is wrong with them."""
    if any(spec.shape is None for spec in specs):
        return [_row(prediction, specs) for prediction in predictions]
    try:
        return _rows(predictions, specs)
    except ValueError:  # some are wrong, or of shapes of their own
        return [_row(prediction, specs) for prediction in predictions]


def describe_row(prediction: Any, reply: Reply) -> tuple[TensorSpec, ...]:
    """Tell the outputs, sorted by name, by those of one item.

    Raises:
        CallFailed: `GIVE_UP`: it holds what no tensor is.
    """
    named = prediction if _is_named(prediction) else {ONLY_OUTPUT: prediction}
    try:
        return tuple(_described(name, named[name]) for name in sorted(named))
    except ValueError as error:
        raise answer_failed(f"cannot be understood: {error}", reply.body, Action.GIVE_UP) from error


def _rows(predictions: Sequence[Any], specs: Sequence[TensorSpec]) -> list[Outputs | ItemError]:
    """Read the outputs of all items together, which is several times as fast as one by one."""
    named = [_by_name(prediction, specs) for prediction in predictions]
    batched = [replace(spec, shape=(None, *(spec.shape or ()))) for spec in specs]
    columns = {spec.name: _value([row[spec.name] for row in named], spec) for spec in batched}
    return list(rows_of(as_outputs(columns, batched), Signature("", (), tuple(specs)), len(named)))


def _row(prediction: Any, specs: Sequence[TensorSpec]) -> Outputs | ItemError:
    try:
        named = _by_name(prediction, specs)
        return as_outputs({spec.name: _value(named[spec.name], spec) for spec in specs}, specs)
    except ValueError as error:
        return AnswerInvalid(f"the endpoint's answer for this item cannot be used: {error}")


def _by_name(prediction: Any, specs: Sequence[TensorSpec]) -> Mapping[str, Any]:
    if _is_named(prediction):
        missing = [spec.name for spec in specs if spec.name not in prediction]
        if missing:
            raise ValueError(f"there is no output {missing[0]!r}, but {shown(sorted(prediction))}")
        return prediction
    if len(specs) != 1:
        names = [spec.name for spec in specs]
        raise ValueError(f"{shown(prediction)} does not name its outputs; there must be {names}")
    return {specs[0].name: prediction}


def _is_named(prediction: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(prediction, Mapping) and not _is_base64(prediction)


def _is_base64(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {_BASE64} and isinstance(value[_BASE64], str)


def _value(value: Any, spec: TensorSpec) -> Any:
    """Make an array of an output's value, or a scalar; raises ValueError where it is none."""
    try:
        shape, leaves = _flat(value)
        array = _array(leaves, spec.dtype)
        shape = _with_lost_dimensions(shape, spec.item_shape)
        if not spec.accepts_item(shape):
            raise ValueError(f"it is of the shape {list(shape)}")
        return array.reshape(shape)[()]
    except ValueError as error:
        raise ValueError(f"the output {spec} cannot take {shown(value)}: {error}") from error


def _flat(value: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape of lists within lists, and what the innermost hold; level by level, for speed."""
    shape = []
    level = [value]
    while level and isinstance(level[0], list):
        lengths = {len(inner) if isinstance(inner, list) else None for inner in level}
        if len(lengths) > 1:
            raise ValueError("its lists are of different lengths or depths")
        shape.append(len(level[0]))
        level = list(chain.from_iterable(level))
    return tuple(shape), level


def _with_lost_dimensions(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> tuple[int, ...]:
    """Add the dimensions of an empty tensor that its lists cannot show: no boxes of 4 numbers are `[]`."""
    if wanted is None or not shape or shape[-1] != 0:
        return shape
    return shape + tuple(size or 0 for size in wanted[len(shape) :])


def _array(leaves: list[Any], dtype: str) -> np.ndarray[Any, Any]:
    kinds = set(map(type, leaves))
    if dtype == "string":
        return np.array([_string(leaf) for leaf in leaves], object)
    if type(None) in kinds:
        raise ValueError("null is no number")
    if "float" in dtype:  # bfloat16 is one as well
        if str in kinds and _NOT_FINITE.issuperset(leaf for leaf in leaves if isinstance(leaf, str)):
            kinds.remove(str)
            leaves = [float(leaf) if isinstance(leaf, str) else leaf for leaf in leaves]
        return _of_kinds(leaves, kinds, {int, float}, np.float64)
    if dtype == "bool":
        return _of_kinds(leaves, kinds, {bool}, np.bool_)
    if float in kinds and kinds <= {int, float}:
        raise ValueError(f"it holds {_names(kinds)}; if that is right, pass --output_schema with float64")
    return _of_kinds(leaves, kinds, {int}, np.uint64 if dtype.startswith("u") else np.int64)


def _of_kinds(leaves: list[Any], kinds: set[type], allowed: set[type], dtype: Any) -> np.ndarray[Any, Any]:
    if kinds - allowed:
        raise ValueError(f"it holds {_names(kinds)}")
    try:
        return np.array(leaves, dtype)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _string(leaf: Any) -> str | bytes:
    """Return text, or the bytes of what is none; raises ValueError where it is no string."""
    if isinstance(leaf, str):
        return leaf if leaf.isascii() or is_utf8(leaf) else leaf.encode(errors="surrogateescape")
    if not _is_base64(leaf):
        raise ValueError(f"it holds {_names({type(leaf)})}")
    return base64.b64decode(leaf[_BASE64], validate=True)


def _described(name: str, value: Any) -> TensorSpec:
    try:
        shape, leaves = _flat(value)
        return TensorSpec(name, _dtype(leaves), (None, *(size or None for size in shape)))
    except ValueError as error:
        raise ValueError(f"the output {name!r} is {shown(value)}: {error}") from error


def _dtype(leaves: list[Any]) -> str:
    kinds = set(map(type, leaves))
    if kinds and all(isinstance(leaf, str) or _is_base64(leaf) for leaf in leaves):
        return "string"
    if kinds == {bool}:
        return "bool"
    if kinds == {int} and max(map(abs, leaves)) <= _MAX_WHOLE:
        return "int64"
    _array([leaf for leaf in leaves if leaf is not None], "float64")
    return "float64"


def _names(kinds: set[type]) -> str:
    return ", ".join(sorted(_JSON_NAMES.get(kind, kind.__name__) for kind in kinds))
