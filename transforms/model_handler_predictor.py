"""Any of Beam's model handlers as a predictor: so models of other frameworks come for free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, PredictionResult

from transforms.errors import BeamPredictError, ContractError, DecodeError, ItemError, PredictionError
from transforms.predictors.base import InputKind, Outcome, Signature
from transforms.predictors.isolation import isolate
from transforms.predictors.outputs import as_outputs
from transforms.records import FileBytes, Outputs


@dataclass
class ModelHandlerPredictor:
    """Predict with a handler of `apache_beam.ml.inference`: scikit-learn's, PyTorch's, ONNX's, your own.

    Attributes:
        handler: Loads the model and runs it. What it says of batches is not used, since the pipeline makes
            them; functions before and after inference (`with_preprocess_fn`) are applied.
        model: Where the model comes from, as the records name it.
        model_version: Which model it is; change it with the model, as it is a part of each prediction's id.
        signature: What the handler's inferences hold; one output needs no mapping. Only the outputs matter.
        prepare: Makes of an item what the handler calls an example. What it raises costs that item only; an
            error that is none of `transforms.errors` counts as the decode stage's.
        inference_args: Handed to the handler with each batch.
        input_kind: Whether items carry their `bytes`, or only their `names`, which `prepare` reads itself.
        sample: An example to warm the model up with; None to start cold.
    """

    handler: ModelHandler[Any, Any, Any]
    model: str
    model_version: str
    signature: Signature
    prepare: Callable[[FileBytes], Any]
    inference_args: dict[str, Any] | None = None
    input_kind: InputKind = "bytes"
    sample: Any = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if isinstance(self.handler, KeyedModelHandler):
            raise ValueError("handler is a KeyedModelHandler; files need no keys: pass the one that it wraps")
        if self.input_kind not in ("names", "bytes"):
            raise ValueError(f"input_kind is {self.input_kind!r}; it must be names or bytes")
        self.handler.validate_inference_args(self.inference_args)

    def load(self) -> None:
        """Load the model, with the handler's environment variables set."""
        self.handler.set_environment_vars()
        self._loaded = self.handler.load_model()

    def warm_up(self, batch_size: int) -> None:
        """Predict on copies of the sample, if there is one."""
        if self.sample is not None:
            self._infer([self.sample] * batch_size)

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `Predictor.predict`.

        A batch that the handler refuses is halved until the items to blame stand alone.

        Raises:
            ContractError: The handler returns another number of results than it was given, or results that
                the signature does not tell.
        """
        prepared = [self._example(item) for item in batch]
        examples = [example for example in prepared if not isinstance(example, ItemError)]
        outcomes = iter(self._predict_prepared(examples) if examples else [])
        return [example if isinstance(example, ItemError) else next(outcomes) for example in prepared]

    def _example(self, item: FileBytes) -> Any:
        try:
            example = self.prepare(item)
            for function in self.handler.get_preprocess_fns():
                example = function(example)
        except ItemError as error:
            return error
        except BeamPredictError:
            raise
        except Exception as error:  # a decoder may raise anything
            return DecodeError(f"{item.ref.uri} cannot be prepared: {type(error).__name__}: {error}")
        return example

    def _predict_prepared(self, examples: Sequence[Any]) -> Sequence[Outcome]:
        try:
            return self._infer(examples)
        except ContractError:
            raise
        except Exception as error:
            if len(examples) == 1:
                return [_item_error(error)]
        return isolate(self._infer, examples, _item_error)

    def _infer(self, examples: Sequence[Any]) -> Sequence[Outputs]:
        results = list(self.handler.run_inference(examples, self._loaded, self.inference_args))
        if len(results) != len(examples):
            raise ContractError(
                f"{type(self.handler).__name__} returned {len(results)} results for a batch of "
                f"{len(examples)}; it must return one for each example, in order"
            )
        return [self._outputs(result) for result in results]

    def _outputs(self, result: Any) -> Outputs:
        for function in self.handler.get_postprocess_fns():
            result = function(result)
        inference = result.inference if isinstance(result, PredictionResult) else result
        specs = self.signature.outputs
        if not isinstance(inference, Mapping) and len(specs) == 1:
            inference = {specs[0].name: inference}
        try:
            return as_outputs(inference, specs)
        except ValueError as error:
            raise ContractError(
                f"{type(self.handler).__name__} returned what its signature does not tell, "
                f"{self.signature}: {error}"
            ) from error


def _item_error(error: Exception) -> ItemError:
    return error if isinstance(error, ItemError) else PredictionError(f"{type(error).__name__}: {error}")
