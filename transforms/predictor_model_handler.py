"""A predictor as one of Beam's model handlers, for pipelines that already use `RunInference`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from transforms.batch_files import DEFAULT_BATCH_SIZE
from transforms.metric_table import NAMESPACE
from transforms.predictors.base import Predictor
from transforms.predictors.predict_records import predict_each, versioned
from transforms.records import DeadLetter, FileBytes, prediction_id


class PredictorModelHandler(ModelHandler[FileBytes, PredictionResult, Predictor]):
    """Let `RunInference` predict with a predictor.

    The examples are `FileBytes`, as `ReadFiles` makes them. The inference of each is its outputs by name, or
    a `DeadLetter` where there are none: a bad item costs neither its neighbours nor, as an exception would,
    the whole batch. `model_id` is the model's version.

    Args:
        predictor: The model; it is loaded on the workers.
        max_batch_size: The most items that the model sees at once.
        min_batch_size: Where smaller, Beam measures which size is worth its time; None for batches of one
            size, but for the last of a bundle.
        max_batch_duration_secs: In streaming, how long an item waits for a batch to be full; None not to wait
            beyond the bundle.

    Example:
        >>> handler = PredictorModelHandler(open_model("examples/digits/model", "from_bytes"))
        >>> keyed | RunInference(KeyedModelHandler(handler))
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        max_batch_size: int = DEFAULT_BATCH_SIZE,
        min_batch_size: int | None = None,
        max_batch_duration_secs: int | None = None,
    ) -> None:
        super().__init__(
            min_batch_size=min_batch_size or max_batch_size,
            max_batch_size=max_batch_size,
            max_batch_duration_secs=max_batch_duration_secs,
        )
        self._predictor = predictor
        self._max_batch_size = max_batch_size

    def load_model(self) -> Predictor:
        """Load and warm up the model."""
        predictor = copy.copy(self._predictor)  # the original stays light enough to be pickled
        predictor.load()
        predictor.warm_up(self._max_batch_size)
        return predictor

    def run_inference(
        self, batch: Sequence[FileBytes], model: Predictor, inference_args: dict[str, Any] | None = None
    ) -> Iterator[PredictionResult]:
        """Predict on a batch.

        Raises:
            ContractError: The predictor broke its promise; the whole batch fails.
        """
        signature = model.signature.name
        for item, made in zip(batch, predict_each(model, batch), strict=True):
            outcome, version = versioned(made, model)
            if isinstance(outcome, Mapping):
                yield PredictionResult(item, outcome, version)
            else:
                identity = prediction_id(item.ref, version, signature)
                letter = DeadLetter.of(outcome, item.ref, prediction_id=identity, model_version=version)
                yield PredictionResult(item, letter, version)

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """Refuse arguments, since a predictor takes none."""
        if inference_args:
            raise ValueError(f"inference_args is {inference_args}; a predictor takes none")

    def get_num_bytes(self, batch: Sequence[FileBytes]) -> int:
        """Return the size of the files, where they were read."""
        return sum(len(item.content or b"") for item in batch)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of this project's own counters."""
        return NAMESPACE
