"""The first batches of a model, before the first real one."""

from __future__ import annotations

import logging

from transforms.predictors.engines import EngineFunction, made_up_inputs
from transforms.predictors.feed import Feed
from transforms.predictors.functions import Function, Tensors
from transforms.predictors.recorded_requests import recorded_requests, resized
from transforms.predictors.samples import sample_batch
from transforms.predictors.saved_model import SavedModelFunction

_LOGGER = logging.getLogger(__name__)


def warm_up(function: Function, feed: Feed, batch_size: int) -> None:
    """Make the first real batch as fast as later ones.

    A SavedModel that holds requests for TensorFlow Serving to warm up with is warmed up with those, as they
    were recorded and as a batch of the size that will be used; any other with made-up items. What the model
    refuses costs nothing but a slow first batch.

    Args:
        function: The loaded model.
        feed: Tells what a made-up item consists of.
        batch_size: The size that will be used.
    """
    requests = _recorded(function)
    try:
        for request in requests:
            function.call(request)
        if requests:
            function.call(resized(requests[0], batch_size))
        else:
            with sample_batch(feed, batch_size) as batch, made_up_inputs():
                function.call(feed.stack(batch))
    except Exception as error:  # a model may raise anything
        _LOGGER.info("%s was not warmed up: it refuses a sample (%s)", function.signature.name, error)


def _recorded(function: Function) -> list[Tensors]:
    """Read the requests that come with a SavedModel; a damaged file of them is no reason not to use it."""
    if isinstance(function, EngineFunction):
        function = function.function
    if not isinstance(function, SavedModelFunction):
        return []
    try:
        return recorded_requests(function.folder, function.signature)
    except Exception as error:  # what is in the file may be anything
        _LOGGER.warning("--model %s is warmed up with made-up items: %s", function.folder, error)
        return []
