"""The nouns of the project: what goes in, what comes out, and what could not be predicted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import orjson

from transforms.errors import ItemError, ParseError, is_retryable

Attributes = Mapping[str, Any]
"""The caller's own values (a list's columns, a message's attributes): JSON values by name."""

Outputs = Mapping[str, Any]
"""One item's outputs by name: NumPy arrays and scalars of the signature's dtypes, strings as `str`."""

MAX_MESSAGE_CHARS = 1_000
MAX_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class FileRef:
    """One input: the file to predict on.

    Attributes:
        uri: The name, as given or as listed: a local path or `gs://bucket/object`.
        generation: Which content of that name: the generation of a Cloud Storage object, the time of the
            last change in microseconds since 1970 elsewhere; None while unknown.
        size: In bytes; None while unknown.
        attributes: Carried to the output untouched.
        content: The file's bytes, where the input itself has brought them (a message); else None.
        arrived: In streaming, when its message was published, or when it was first listed: in seconds since
            1970; None where that is not known. It is no part of what the input is.
    """

    uri: str
    generation: int | None = None
    size: int | None = None
    attributes: Attributes = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)
    arrived: float | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A file that is ready for the model.

    Attributes:
        ref: The file, with its generation and size known.
        content: Its bytes; None where the model's signature takes names and reads the files itself.
    """

    ref: FileRef
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's outputs for one file.

    Attributes:
        prediction_id: See `prediction_id()`: equal for equal file, model version and signature.
        uri: The file's name.
        generation: Which content of that name, see `FileRef`.
        model: Where the model was loaded from.
        model_version: Which model it was: the number of its version folder, or a fingerprint of its content.
        signature: The signature that was called.
        outputs: By name, without the batch dimension.
        attributes: The caller's own values, untouched.
        predicted_at: When, in UTC.
    """

    prediction_id: str
    uri: str
    generation: int | None
    model: str
    model_version: str
    signature: str
    outputs: Outputs
    attributes: Attributes
    predicted_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One input that has no prediction, and why.

    Attributes:
        prediction_id: The id that its prediction would have had; None when it never reached the model.
        uri: The file's name; None when the input names none.
        generation: Which content of that name, see `FileRef`; None when unknown.
        stage: Where it failed: parse, list, group, read, decode, predict, postprocess or write.
        error: The kind of failure: the name of a class in `transforms.errors`, or of a model's own exception.
        message: What happened, with the value and, where there is one, the remedy.
        retryable: Whether the same input may succeed when it is tried again, unchanged.
        attempts: How often it was tried.
        model_version: See `Prediction`; None when the input never reached the model.
        attributes: The caller's own values, untouched.
        payload: The raw input where it could not even be parsed, else None.
        failed_at: When, in UTC.
    """

    prediction_id: str | None
    uri: str | None
    generation: int | None
    stage: str
    error: str
    message: str
    retryable: bool
    attempts: int
    model_version: str | None
    attributes: Attributes
    payload: str | None
    failed_at: datetime

    @classmethod
    def of(
        cls,
        error: BaseException,
        ref: FileRef | None = None,
        *,
        prediction_id: str | None = None,
        model_version: str | None = None,
    ) -> DeadLetter:
        """Make the dead letter of an error; one outside the tree of errors counts as the predict stage's."""
        return cls(
            prediction_id=prediction_id,
            uri=printable(ref.uri) if ref else None,
            generation=ref.generation if ref else None,
            stage=error.stage if isinstance(error, ItemError) else "predict",
            error=type(error).__name__,
            message=printable(str(error)[:MAX_MESSAGE_CHARS]),
            retryable=is_retryable(error),
            attempts=error.attempts if isinstance(error, ItemError) else 1,
            model_version=model_version,
            attributes=ref.attributes if ref else {},
            payload=printable(error.payload) if isinstance(error, ParseError) else None,
            failed_at=utc_now(),
        )


def prediction_id(ref: FileRef, model_version: str, signature: str) -> str:
    """Name a prediction by what determines it: 32 hexadecimal digits.

    The same uri, generation, model version and signature give the same id, whatever the runner, in batch
    and in streaming, at the first run and at a replay.
    """
    identity = orjson.dumps([ref.uri, ref.generation, model_version, signature])
    return hashlib.blake2b(identity, digest_size=16).hexdigest()


def is_utf8(text: str) -> bool:
    """Tell whether text can be encoded; a local file's name need not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Return text as it is, or with escapes for what is not UTF-8."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def shown(value: Any) -> str:
    """Write a value that somebody gave for a message: as Python would, cut where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return "lists within lists, too deep to show"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."


def utc_now() -> datetime:
    """Return the present time, in UTC."""
    return datetime.now(timezone.utc)
