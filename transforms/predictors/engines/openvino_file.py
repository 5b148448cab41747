"""A model in OpenVINO's own format, as `beam-predict convert --to openvino` writes it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transforms.errors import ItemError, ModelError, PredictionError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.engines.base import DEFAULT_BATCH_SIZE
from transforms.predictors.engines.openvino_engine import compile_openvino, import_openvino
from transforms.predictors.engines.trial import reason
from transforms.predictors.functions import Tensors
from transforms.predictors.local_copy import local_copy
from transforms.predictors.saved_model import DEFAULT_SIGNATURE

OPENVINO_MODEL = "model.xml"


def weights_of(path: str) -> str:
    """Return the path of a model's weights."""
    return f"{os.path.splitext(path)[0]}.bin"


@dataclass
class OpenVinoFile:
    """An OpenVINO model: all its inputs, and all its outputs.

    Attributes:
        path: Of the `.xml` file, beside which is the `.bin` file of the weights; local or on any file system
            that the project reads.
        signature_name: OpenVINO's models have no named signatures, so it is the default.
    """

    path: str
    signature_name: str = DEFAULT_SIGNATURE

    def __post_init__(self) -> None:
        """Refuse a signature by name.

        Raises:
            ModelError: One was asked for.
        """
        if self.signature_name != DEFAULT_SIGNATURE:
            raise ModelError(
                f"--signature {self.signature_name}: an OpenVINO model has no named signatures; leave the "
                "flag out"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what is known of the model, and nothing that is loaded."""
        return {name: value for name, value in self.__dict__.items() if name != "_call"}

    @cached_property
    def signature(self) -> Signature:
        """The inputs and outputs; OpenVINO, which is light, tells them.

        Raises:
            ModelError: OpenVINO is not installed, or cannot read the model.
        """
        model = self._read()
        return Signature(DEFAULT_SIGNATURE, _specs(model.inputs), _specs(model.outputs))

    def load(self) -> None:
        """Make the model ready.

        Raises:
            ModelError: As for `signature`.
        """
        self._call = compile_openvino(self._read(), self.signature, DEFAULT_BATCH_SIZE)

    def call(self, inputs: Tensors) -> Tensors:
        """See `Function.call`."""
        return self._call(inputs)

    def item_error(self, error: Exception) -> ItemError:
        """See `Function.item_error`."""
        return PredictionError(reason(error))

    def suspects(self, inputs: Tensors) -> Collection[int]:
        """Suspect nothing: the models read no files and decode no images."""
        return ()

    def _read(self) -> Any:
        folder, name = os.path.split(self.path)
        try:
            return import_openvino().Core().read_model(os.path.join(local_copy(folder), name))
        except ImportError as error:
            raise ModelError(
                f"--model {self.path}: OpenVINO models need the extra `openvino`: pip install openvino "
                f"({error})"
            ) from error
        except RuntimeError as error:
            raise ModelError(f"--model {self.path} cannot be read by OpenVINO: {reason(error)}") from error


def _specs(ports: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(sorted(map(_spec, ports), key=lambda spec: spec.name))


def _spec(port: Any) -> TensorSpec:
    shape = port.get_partial_shape()
    dtype = "string" if port.element_type.get_type_name() == "string" else port.element_type.to_dtype().name
    sizes = None if shape.rank.is_dynamic else [_size(dimension) for dimension in shape]
    return TensorSpec(port.get_any_name(), dtype, None if sizes is None else tuple(sizes))


def _size(dimension: Any) -> int | None:
    return None if dimension.is_dynamic else int(dimension.get_length())
