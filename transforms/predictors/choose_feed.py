"""How a signature is fed: decided once, at launch, from the signature itself.

A dtype cannot tell whether a string is the name of a file or its bytes, so names do: first the input's, then
the signature's. The suffix `_bytes` is the convention of TensorFlow Serving's REST API for binary values; the
other words are those that people use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transforms.errors import ModelError
from transforms.predictors.arrays import ArrayDecoder
from transforms.predictors.base import InputKind, Signature, TensorSpec
from transforms.predictors.feed import Constant, Feed, ImageDecoder, parse_value
from transforms.predictors.images import ImagePreparation, is_image
from transforms.predictors.preprocessing import Preprocessing

_TELLING: tuple[tuple[InputKind | None, frozenset[str]], ...] = (
    (None, frozenset({"id", "ids", "key", "keys"})),
    ("bytes", frozenset({"b64", "binary", "bytes", "content", "contents", "encoded", "raw"})),
    (
        "names",
        frozenset({"file", "filename", "filenames", "filepath", "filepaths", "files", "name", "names"}),
    ),
    ("names", frozenset({"path", "paths", "uri", "uris", "url", "urls"})),
    ("bytes", frozenset({"image", "images", "jpeg", "jpg", "png"})),
)
"""The words that tell, the strongest first: `image_path` is a name, and `file_content` are bytes."""


@dataclass(frozen=True)
class Wishes:
    """What the user decides where the signature does not tell, or tells wrong.

    Attributes:
        item_input: The input that takes the item.
        kind: What of the item it takes.
        preprocessing: How images are prepared for it.
        constants: Values of other inputs, as text; the inputs that are left take attributes.
    """

    item_input: str | None = None
    kind: InputKind | None = None
    preprocessing: Preprocessing | None = None
    constants: Mapping[str, str] = field(default_factory=dict)


def choose_feed(signature: Signature, wishes: Wishes) -> Feed:
    """Decide how to feed a signature.

    Raises:
        ModelError: The signature cannot be fed, does not tell how, or has outputs that are not one an item.
    """
    _check_outputs(signature)
    item = _item_input(signature, wishes)
    others = [spec for spec in signature.inputs if spec != item]
    unknown = sorted(wishes.constants.keys() - {spec.name for spec in others})
    if unknown:
        names = ", ".join(spec.name for spec in others) or "none"
        raise ModelError(
            f"--model_inputs {unknown[0]}: signature {signature} has no such other input, but {names}"
        )
    kind = _kind(signature, item, wishes.kind)
    return Feed(
        item=item,
        kind=kind,
        decoder=_decoder(signature, item, kind, wishes.preprocessing),
        attributes=tuple(_attribute(spec) for spec in others if spec.name not in wishes.constants),
        constants=tuple(
            _constant(spec, wishes.constants) for spec in others if spec.name in wishes.constants
        ),
    )


def _check_outputs(signature: Signature) -> None:
    for spec in signature.outputs:
        if spec.dtype in ("ragged", "sparse"):
            raise ModelError(
                f"signature {signature}: output {spec.name!r} is {spec.dtype}; export one that is dense, "
                "with .to_tensor() or tf.sparse.to_dense()"
            )
        if spec.shape == ():
            raise ModelError(
                f"signature {signature}: output {spec.name!r} is one number for the whole batch; "
                "its first dimension must be the batch's"
            )


def _item_input(signature: Signature, wishes: Wishes) -> TensorSpec:
    inputs = {spec.name: spec for spec in signature.inputs if spec.name not in wishes.constants}
    if wishes.item_input is not None:
        if wishes.item_input in wishes.constants:
            raise ModelError(
                f"--item_input {wishes.item_input}: --model_inputs gives this input one value for all files; "
                "leave one of the two out"
            )
        if wishes.item_input not in inputs:
            raise ModelError(f"--item_input {wishes.item_input}: signature {signature} has no such input")
        return inputs[wishes.item_input]
    candidates = list(inputs.values())
    for likely in (_is_told, _is_string, is_image):
        if len(candidates) > 1:
            candidates = [spec for spec in candidates if likely(spec)] or candidates
    if len(candidates) != 1:
        raise ModelError(
            f"signature {signature} does not tell which of its inputs takes the item; pass --item_input, "
            "and the values of the others as attributes or with --model_inputs NAME=VALUE"
        )
    return candidates[0]


def _kind(signature: Signature, item: TensorSpec, wanted: InputKind | None) -> InputKind:
    fitting: Sequence[InputKind] = ("names", "bytes") if item.dtype == "string" else ("images", "arrays")
    if wanted is not None and wanted not in fitting:
        raise ModelError(
            f"--input_kind {wanted}: signature {signature} takes {item.dtype}, that is {' or '.join(fitting)}"
        )
    if item.dtype != "string":
        return wanted or ("images" if is_image(item) else "arrays")
    if item.shape not in ((None,), None):
        raise ModelError(f"signature {signature} takes {item}; choose one that takes one string an item")
    kind = wanted or _told_by(item.name) or _told_by(signature.name)
    if kind is None:
        raise ModelError(
            f"signature {signature} does not tell whether {item.name!r} takes file names or file bytes; "
            f"pass --input_kind {' or --input_kind '.join(fitting)}"
        )
    return kind


def _decoder(
    signature: Signature, item: TensorSpec, kind: InputKind, preprocessing: Preprocessing | None
) -> ImageDecoder | None:
    if kind != "images" and preprocessing is not None:
        raise ModelError(
            f"--preprocess has no effect: signature {signature} takes {kind}; leave it out, or choose a "
            "signature that takes images as numbers"
        )
    if kind == "arrays":
        return ArrayDecoder(item)
    if kind != "images":
        return None
    if preprocessing is None:
        raise ModelError(
            f"signature {signature} takes images as numbers; say how they were prepared when the model was "
            "trained, with --preprocess, such as --preprocess scale=0..1; or pass --input_kind arrays, where "
            "the files are .npy files of such numbers"
        )
    return ImagePreparation.of(preprocessing, item)


def _attribute(spec: TensorSpec) -> TensorSpec:
    if spec.shape == ():
        raise ModelError(f"input {spec} has no batch dimension: pass --model_inputs {spec.name}=VALUE")
    return spec


def _constant(spec: TensorSpec, constants: Mapping[str, str]) -> Constant:
    item = TensorSpec(spec.name, spec.dtype, (None,)) if spec.shape == () else spec
    try:
        return Constant(spec, parse_value(constants[spec.name], item))
    except ValueError as error:
        raise ModelError(f"--model_inputs {spec.name}: {error}") from error


def _is_string(spec: TensorSpec) -> bool:
    return spec.dtype == "string"


def _is_told(spec: TensorSpec) -> bool:
    return spec.dtype == "string" and _told_by(spec.name) is not None


def _told_by(name: str) -> InputKind | None:
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    return next((kind for kind, telling in _TELLING if words & telling), None)
