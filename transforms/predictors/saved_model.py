"""A signature of a TensorFlow SavedModel, run by TensorFlow."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transforms.errors import ItemError, ModelError
from transforms.predictors.base import Signature
from transforms.predictors.functions import Tensors, load_once
from transforms.predictors.local_copy import local_copy
from transforms.predictors.saved_model_files import read_signatures
from transforms.predictors.tensorflow_runtime import (
    call_concrete,
    import_tensorflow,
    item_error,
    summarize,
)

DEFAULT_SIGNATURE = "serving_default"


@dataclass
class SavedModelFunction:
    """One signature of a SavedModel.

    Attributes:
        folder: The folder that holds `saved_model.pb`.
        signature_name: Which of its signatures to call.
    """

    folder: str
    signature_name: str = DEFAULT_SIGNATURE

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what is known of the model, and not the loaded model."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_loaded", "_call")}

    @cached_property
    def signature(self) -> Signature:
        """The signature, read without TensorFlow.

        Raises:
            ModelError: The folder is not a SavedModel or has no such signature.
        """
        signatures = read_signatures(self.folder)
        if self.signature_name not in signatures:
            listed = "".join(f"\n    {signature}" for signature in signatures.values()) or " none"
            raise ModelError(
                f"--model {self.folder} has no signature {self.signature_name!r}; "
                f"pass --signature with one that it has:{listed}"
            )
        return signatures[self.signature_name]

    def load(self) -> None:
        """Load the model with TensorFlow.

        Raises:
            ModelError: TensorFlow cannot load it, or it is no longer the one whose version is known.
        """
        tf, folder = import_tensorflow(), local_copy(self.folder)
        try:
            self._loaded = load_once(folder, tf.saved_model.load)  # its signatures do not keep it alive
            self._call = self._loaded.signatures[self.signature_name]
        except Exception as error:  # of many kinds: damaged files raise even IndexError
            raise ModelError(f"--model {self.folder} cannot be loaded: {summarize(error)}") from error

    @property
    def concrete(self) -> Any:
        """The loaded function, which other engines convert."""
        return self._call

    def call(self, inputs: Tensors) -> Tensors:
        """See `Function.call`."""
        return call_concrete(self._call, inputs)

    def item_error(self, error: Exception) -> ItemError:
        """See `Function.item_error`."""
        return item_error(error)

    def suspects(self, inputs: Tensors) -> Collection[int]:
        """Suspect what does not decode as an image, among the strings of the input that has them."""
        strings = next((values for values in inputs.values() if values.dtype.kind == "O"), ())
        return [position for position, value in enumerate(strings) if not _decodes(value)]


def _decodes(value: str | bytes) -> bool:
    """Tell whether bytes, or the file of a name, are an image."""
    tf = import_tensorflow()
    try:
        content = tf.io.read_file(value) if isinstance(value, str) else value
        tf.io.decode_image(content, expand_animations=False)
    except tf.errors.OpError:
        return False
    return True
