"""From a model's place to a predictor."""

from __future__ import annotations

from transforms.errors import ModelError
from transforms.predictors.choose_feed import Wishes, choose_feed
from transforms.predictors.feed import Feed
from transforms.predictors.functions import Chain, Function
from transforms.predictors.images import is_image
from transforms.predictors.local import LocalPredictor
from transforms.predictors.saved_model import DEFAULT_SIGNATURE, SavedModelFunction
from transforms.predictors.saved_model_files import fingerprint, read_signatures

PREPROCESS_SIGNATURE = "preprocess"


def open_model(
    model: str, signature: str = DEFAULT_SIGNATURE, wishes: Wishes | None = None
) -> LocalPredictor:
    """Make a predictor of a model; nothing is loaded yet.

    Args:
        model: The folder of a SavedModel.
        signature: Which of its signatures to call.
        wishes: What the signature does not tell of how it is fed.

    Raises:
        ModelError: The model cannot be read, lacks the signature, or cannot be fed.

    Example:
        >>> predictor = open_model("examples/digits/model", "from_bytes")
        >>> predictor.load()
        >>> name = "examples/digits/images/0030.png"
        >>> predictor.predict([FileBytes(FileRef(name), open(name, "rb").read())])
    """
    function, feed = _saved_model(model, signature, wishes or Wishes())
    return LocalPredictor(model, fingerprint(model), function, feed)


def _saved_model(model: str, name: str, wishes: Wishes) -> tuple[Function, Feed]:
    function: Function = SavedModelFunction(model, name)
    if wishes.preprocessing is None and any(map(is_image, function.signature.inputs)):
        function = _with_preprocessing(model, function)
    return function, choose_feed(function.signature, wishes)


def _with_preprocessing(model: str, function: Function) -> Function:
    """Put the model's own `preprocess` signature before a function, where there is one that fits."""
    if PREPROCESS_SIGNATURE not in read_signatures(model):
        return function
    try:
        return Chain(SavedModelFunction(model, PREPROCESS_SIGNATURE), function)
    except ModelError:
        return function
