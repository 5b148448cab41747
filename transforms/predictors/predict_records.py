"""From a batch of files to its records: a prediction or a dead letter for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from transforms.errors import ContractError, ItemError
from transforms.predictors.base import Outcome, Predictor, VersionedOutputs
from transforms.predictors.contract import predict_checked
from transforms.predictors.isolation import isolate
from transforms.records import DeadLetter, FileBytes, Outputs, Prediction, prediction_id, utc_now


def predict_each(predictor: Predictor, batch: Sequence[FileBytes]) -> Sequence[Outcome | Exception]:
    """Predict on a batch, and find the items to blame where the predictor could not tell them.

    Raises:
        ContractError: The predictor broke its promise, see `predict_checked`.
    """

    def predict(items: Sequence[FileBytes]) -> Sequence[Outcome | Exception]:
        return predict_checked(predictor, items)

    try:
        return predict(batch)
    except ContractError:
        raise
    except Exception as error:
        return [error] if len(batch) == 1 else isolate(predict, batch, as_failure=lambda failure: failure)


def records_of(
    predictor: Predictor, batch: Sequence[FileBytes], outcomes: Sequence[Outcome | Exception]
) -> Iterator[Prediction | DeadLetter]:
    """Make the records of a batch from what `predict_each` returned for it."""
    now = utc_now()
    signature = predictor.signature
    for item, made in zip(batch, outcomes, strict=True):
        ref = item.ref
        outcome, version = versioned(made, predictor)
        identity = prediction_id(ref, version, signature.name)
        if isinstance(outcome, Mapping):
            yield Prediction(
                prediction_id=identity,
                uri=ref.uri,
                generation=ref.generation,
                model=predictor.model,
                model_version=version,
                signature=signature.name,
                outputs=outcome,
                attributes=ref.attributes,
                predicted_at=now,
            )
        else:
            yield DeadLetter.of(outcome, ref, prediction_id=identity, model_version=version)


def versioned(
    outcome: Outcome | Exception, predictor: Predictor
) -> tuple[Outputs | ItemError | Exception, str]:
    """Take an outcome apart: the outputs or the error, and the version of the model that made it."""
    if isinstance(outcome, VersionedOutputs):
        return outcome.outputs, outcome.model_version
    return outcome, predictor.model_version
