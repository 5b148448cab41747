"""Whether a signature with a string input takes the names of files or their bytes.

A dtype cannot tell, so names do: first the input's, then the signature's. The suffix `_bytes` is the
convention of TensorFlow Serving's REST API for binary values; the other words are those that people use.
"""

from __future__ import annotations

import re

from transforms.errors import ModelError
from transforms.predictors.base import INPUT_KINDS, InputKind, Signature

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


def choose_input_kind(signature: Signature, wanted: InputKind | None = None) -> InputKind:
    """Decide how to feed a signature.

    Args:
        signature: It must have one input, of strings.
        wanted: The user's own decision, which goes before what the names tell.

    Raises:
        ModelError: The signature cannot be fed, or its names tell nothing.
    """
    if len(signature.inputs) != 1:
        raise ModelError(
            f"signature {signature} has {len(signature.inputs)} inputs; choose one with a single input"
        )
    (spec,) = signature.inputs
    if spec.dtype != "string":
        raise ModelError(
            f"signature {signature} takes {spec.dtype}; choose one that takes the names or the bytes of files"
        )
    if spec.shape not in ((None,), None):
        raise ModelError(f"signature {signature} takes {spec}; choose one that takes one string an item")
    kind = wanted or _told_by(spec.name) or _told_by(signature.name)
    if kind is None:
        raise ModelError(
            f"signature {signature} does not tell whether {spec.name!r} takes file names or file bytes; "
            f"pass --input_kind {' or --input_kind '.join(INPUT_KINDS)}"
        )
    return kind


def _told_by(name: str) -> InputKind | None:
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    return next((kind for kind, telling in _TELLING if words & telling), None)
