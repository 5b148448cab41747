"""A predictor that is replaced by newer versions of its model while a pipeline runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from transforms.errors import ModelError
from transforms.predictors.base import InputKind, Outcome, Predictor, Signature
from transforms.predictors.versions import VersionedModel, choose_version
from transforms.records import FileBytes


@dataclass
class PolledPredictor:
    """The newest version of a model, and where to look for newer ones; made by `open_newest`.

    Called as a predictor it stays with the version that it was made with; `swapping_model.serve` makes of it
    one that follows.

    Attributes:
        predictor: The version that was the newest at launch.
        versions: The model.
        seconds: How long to wait between two looks.
        signature: The signature, which all versions must have.
        input_kind: What all versions are fed with.
    """

    predictor: Predictor
    versions: VersionedModel
    seconds: float
    signature: Signature = field(init=False)
    input_kind: InputKind = field(init=False)

    def __post_init__(self) -> None:
        """Keep what was true at launch: the files of that version may be gone when a worker starts."""
        self.signature = self.predictor.signature
        self.input_kind = self.predictor.input_kind

    @property
    def model(self) -> str:
        """The folder that holds the versions."""
        return self.predictor.model

    @property
    def model_version(self) -> str:
        """The version at launch."""
        return self.predictor.model_version

    def load(self) -> None:
        """See `Predictor.load`."""
        self.predictor.load()

    def warm_up(self, batch_size: int) -> None:
        """See `Predictor.warm_up`."""
        self.predictor.warm_up(batch_size)

    def __copy__(self) -> PolledPredictor:
        """Copy the predictor as well, so that loading the copy leaves the original as light as it was."""
        return replace(self, predictor=copy.copy(self.predictor))

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `Predictor.predict`."""
        return self.predictor.predict(batch)


def open_newest(model: VersionedModel, number: int | None = None, poll_seconds: float = 0) -> Predictor:
    """Make a predictor of a model's newest complete version, or of the one that is asked for.

    Args:
        model: A model with or without versions.
        number: Which version; None for the newest complete one.
        poll_seconds: How often to look for newer ones while the predictor is served; 0 never to look.

    Raises:
        ModelError: There is no such version, or there can be no newer ones.
    """
    version = choose_version(model.model, number)
    predictor = model.open(version)
    if not poll_seconds:
        return predictor
    if number is not None:
        raise ModelError(
            f"--model_poll_interval: --model_version {number} stays what it is; pass one of them"
        )
    if version is None:
        raise ModelError(
            f"--model_poll_interval: --model {model.model} has no versions, that is folders named 1, 2, ..."
        )
    return PolledPredictor(predictor, model, poll_seconds)
