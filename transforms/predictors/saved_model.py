"""A TensorFlow SavedModel as a predictor."""

from __future__ import annotations

import base64
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from transforms.errors import ContractError, ModelError
from transforms.predictors.base import InputKind, Outcome, Signature
from transforms.predictors.input_kind import choose_input_kind
from transforms.predictors.isolation import isolate
from transforms.predictors.saved_model_files import fingerprint, read_signatures
from transforms.predictors.tensorflow_runtime import import_tensorflow, item_error, summarize
from transforms.records import FileBytes, FileRef, Outputs

_LOGGER = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"

# A gray PNG of 8 x 8 pixels: something that most models of images accept.
_SAMPLE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVQImWNsYIAAJgaKGAAmCACQsdGojAAAAABJRU5ErkJggg=="
)


@dataclass
class SavedModelPredictor:
    """Predict with one signature of a SavedModel.

    Example:
        >>> predictor = SavedModelPredictor("examples/digits/model", "from_bytes")
        >>> predictor.load()
        >>> content = open("examples/digits/images/0000.png", "rb").read()
        >>> predictor.predict([FileBytes(FileRef("0000.png"), content)])

    Attributes:
        model: The folder that holds `saved_model.pb`.
        signature_name: Which of its signatures to call.
        wanted_input_kind: Whether that takes names or bytes, where the signature itself does not tell.
    """

    model: str
    signature_name: str = DEFAULT_SIGNATURE
    wanted_input_kind: InputKind | None = None

    @cached_property
    def signature(self) -> Signature:
        """The signature, read without TensorFlow.

        Raises:
            ModelError: The folder is not a SavedModel or has no such signature.
        """
        signatures = read_signatures(self.model)
        if self.signature_name not in signatures:
            listed = "".join(f"\n    {signature}" for signature in signatures.values()) or " none"
            raise ModelError(
                f"--model {self.model} has no signature {self.signature_name!r}; "
                f"pass --signature with one that it has:{listed}"
            )
        return signatures[self.signature_name]

    @cached_property
    def input_kind(self) -> InputKind:
        """Whether the signature takes names or bytes.

        Raises:
            ModelError: It takes neither, or that cannot be told.
        """
        return choose_input_kind(self.signature, self.wanted_input_kind)

    @cached_property
    def model_version(self) -> str:
        """The fingerprint of the model's content.

        Raises:
            ModelError: The folder is not a SavedModel.
        """
        return fingerprint(self.model)

    def load(self) -> None:
        """Load the model with TensorFlow.

        Raises:
            ModelError: TensorFlow cannot load it, or it is no longer the one whose version is known.
        """
        tf = import_tensorflow()
        if fingerprint(self.model) != self.model_version:
            raise ModelError(
                f"--model {self.model} has changed since the start; give each version a folder of its own"
            )
        try:
            self._loaded = tf.saved_model.load(self.model)  # its signatures do not keep it alive
            self._call = self._loaded.signatures[self.signature_name]
        except Exception as error:  # of many kinds: damaged files raise even IndexError
            raise ModelError(f"--model {self.model} cannot be loaded: {summarize(error)}") from error
        self._input_name = self.signature.inputs[0].name
        self._kind = self.input_kind

    def warm_up(self, batch_size: int) -> None:
        """Predict once on copies of a small image; a model that refuses it starts cold, at no other cost."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sample.png")
            path.write_bytes(_SAMPLE)
            sample = FileBytes(FileRef(str(path)), _SAMPLE)
            try:
                self._predict_together([sample] * batch_size)
            except Exception as error:
                _LOGGER.info("%s was not warmed up: it refuses a sample image (%s)", self.model, error)

    def predict(self, batch: Sequence[FileBytes]) -> Sequence[Outcome]:
        """See `Predictor.predict`.

        A batch that TensorFlow refuses is searched for the items to blame: those that do not decode as
        images are tried one by one, the others together.

        Raises:
            ContractError: The model returns another number of rows than it was given.
        """
        tf = import_tensorflow()
        try:
            return self._predict_together(batch)
        except tf.errors.OpError as error:
            if len(batch) == 1:
                return [item_error(error)]
        suspects = [position for position, item in enumerate(batch) if not self._decodes(item)]
        return isolate(self._predict_together, batch, item_error, suspects)

    def _predict_together(self, batch: Sequence[FileBytes]) -> Sequence[Outputs]:
        tf = import_tensorflow()
        outputs = self._call(**{self._input_name: tf.constant([self._value(item) for item in batch])})
        columns = {spec.name: outputs[spec.name].numpy() for spec in self.signature.outputs}
        for name, column in columns.items():
            if column.shape[:1] != (len(batch),):
                raise ContractError(
                    f"--model {self.model}: output {name!r} has the shape {list(column.shape)} for a batch "
                    f"of {len(batch)}; the first dimension must be the batch's"
                )
        return _rows(columns)

    def _value(self, item: FileBytes) -> str | bytes:
        if self._kind == "names":
            return item.ref.uri
        if item.content is None:
            raise ContractError(f"{item.ref.uri} came without its bytes, which {self.signature_name} takes")
        return item.content

    def _decodes(self, item: FileBytes) -> bool:
        tf = import_tensorflow()
        try:
            content = tf.io.read_file(item.ref.uri) if item.content is None else item.content
            tf.io.decode_image(content, expand_animations=False)
        except tf.errors.OpError:
            return False
        return True


def _rows(columns: dict[str, np.ndarray[Any, Any]]) -> Sequence[Outputs]:
    readable = [_readable(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*readable, strict=True)]


def _readable(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if column.dtype.kind == "O":
        return _as_text(column)
    return column.astype(np.float32) if column.dtype.name == "bfloat16" else column


def _as_text(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Turn TensorFlow's byte strings into text: UTF-8, or base64 where they are not."""
    return np.frompyfunc(_text, 1, 1)(column)  # type: ignore[no-any-return]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
