"""What can go wrong, as one tree.

    BeamPredictError
    ├── ConfigurationError          the request cannot work; told before any input costs anything
    │   ├── ModelError              the model is missing, unreadable, or lacks what was asked of it
    │   │   └── OutputsUnknown      ... nothing tells what it gives
    │   └── UsageError              flags that cannot be understood
    ├── ContractError               a predictor broke the protocol; the job stops
    │   ├── EngineRefused           ... its engine does not compute what TensorFlow does; also a ModelError
    │   └── EndpointRefused         ... its endpoint refuses the very first requests; also a ModelError
    └── ItemError                   one input has no prediction; it becomes that input's dead letter
        ├── ParseError              [parse]    a list's line or a message that names no file
        │   └── PlaceNotAllowed                a message names a file that may not be read
        ├── ListError               [list]     a glob or a list that gives no names
        ├── GroupError              [group]    a file that belongs to no group
        ├── ReadError               [read]     the file cannot be had
        │   ├── FileMissing
        │   ├── NotAFile                       a folder, a device, a pipe
        │   ├── EmptyFile
        │   ├── FileTooLarge                   above --max_file_bytes
        │   ├── AccessDenied
        │   ├── UnsupportedLocation            no such file system
        │   └── StorageUnavailable             may work later: retryable
        ├── DecodeError             [decode]   the model cannot decode the file
        ├── PredictionError         [predict]  the model refuses this item
        │   ├── AttributeMissing               a second input of the signature lacks its value
        │   ├── AttributeInvalid               ... or has one of another type
        │   ├── ModelUnavailable               may work later: retryable
        │   ├── InstanceRefused                an endpoint refuses it
        │   ├── RequestTooLarge                ... it is larger than a request may be
        │   ├── AnswerTooLarge                 ... its answer is larger than is read
        │   ├── AnswerInvalid                  ... its answer is none
        │   ├── EndpointUnavailable            ... has not answered in time, however often: retryable
        │   └── EndpointClosed                 ... has answered others, and lets nobody in now: retryable
        ├── PostprocessError        [postprocess]  what is done to the model's outputs fails on this item's
        └── WriteError              [write]    a record that an output does not take
            ├── RowRefused                     ... for what it holds
            └── RecordTooLarge                 ... for its size

The word in brackets is the stage that a dead letter names.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Stage = Literal["parse", "list", "group", "read", "decode", "predict", "postprocess", "write"]


class BeamPredictError(Exception):
    """The root of every error that this project raises on purpose."""


class ConfigurationError(BeamPredictError):
    """The request cannot work as given; the message names the value and the remedy."""


class ModelError(ConfigurationError):
    """The model is missing, unreadable, or lacks what was asked of it."""


class OutputsUnknown(ModelError):
    """An endpoint does not tell what its model gives, and there is no file to ask it about."""


class UsageError(ConfigurationError):
    """The command line cannot be understood.

    Attributes:
        problems: One message for each thing that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ContractError(BeamPredictError):
    """A predictor broke its protocol, so that no outcome of its batch can be trusted."""


class EngineRefused(ModelError, ContractError):
    """The engine that was asked for cannot convert the model, or does not compute what TensorFlow does."""


class EndpointRefused(ModelError, ContractError):
    """The endpoint refuses the very first requests: the address or the credentials are wrong."""


class ItemError(BeamPredictError):
    """One input has no prediction; the class is the `error` of its dead letter, the text its `message`.

    Attributes:
        attempts: How often it was tried.
    """

    stage: ClassVar[Stage]
    retryable: ClassVar[bool] = False
    attempts: int = 1


class ParseError(ItemError):
    """A list's line or a message names no file.

    Attributes:
        payload: The line or the message, as text.
    """

    stage = "parse"

    def __init__(self, message: str, payload: str) -> None:
        super().__init__(message)
        self.payload = payload


class PlaceNotAllowed(ParseError):
    """A message names a file in a place from which nothing may be read."""


class ListError(ItemError):
    """A glob or a list gives no names."""

    stage = "list"


class GroupError(ItemError):
    """The file belongs to no group, or has no place for the group's key."""

    stage = "group"


class ReadError(ItemError):
    """The file cannot be had."""

    stage = "read"


class FileMissing(ReadError):
    """There is no file of that name (or of that generation of it)."""


class NotAFile(ReadError):
    """The name is that of a folder, a device or a pipe."""


class EmptyFile(ReadError):
    """The file has 0 bytes."""


class FileTooLarge(ReadError):
    """The file is larger than is allowed."""


class AccessDenied(ReadError):
    """The file is there, but may not be read."""


class UnsupportedLocation(ReadError):
    """No file system is known for the name."""


class StorageUnavailable(ReadError):
    """The storage did not answer as it should; a later try may succeed."""

    retryable = True


class DecodeError(ItemError):
    """The model cannot decode the file's bytes."""

    stage = "decode"


class PredictionError(ItemError):
    """The model refuses this item."""

    stage = "predict"


class AttributeMissing(PredictionError):
    """The item lacks an attribute that the signature takes."""


class AttributeInvalid(PredictionError):
    """The item's attribute is not of the type that the signature takes."""


class ModelUnavailable(PredictionError):
    """What the model runs on failed; a later try may succeed."""

    retryable = True


class RemoteError(PredictionError):
    """An endpoint has given no usable answer for this item."""

    def __init__(self, message: str, attempts: int = 1) -> None:
        super().__init__(message)
        self.attempts = attempts


class InstanceRefused(RemoteError):
    """The endpoint refuses this item."""


class RequestTooLarge(RemoteError):
    """The item alone is larger than a request may be."""


class AnswerTooLarge(RemoteError):
    """The answer for this item alone is larger than what is read of one."""


class AnswerInvalid(RemoteError):
    """The answer for this item is none: of another form, of another type, or of another shape."""


class EndpointUnavailable(RemoteError):
    """The endpoint has not answered in time, however often it was asked; a later try may succeed."""

    retryable = True


class EndpointClosed(RemoteError):
    """The endpoint has answered before, and refuses all requests now; once it is mended, it may answer."""

    retryable = True


class PostprocessError(ItemError):
    """What is done to the model's outputs fails on those of this item."""

    stage = "postprocess"


class WriteError(ItemError):
    """An output does not take the record."""

    stage = "write"


class RowRefused(WriteError):
    """The output refuses what the record holds."""


class RecordTooLarge(WriteError):
    """The record is larger than the output takes."""


def is_retryable(error: BaseException) -> bool:
    """Tell whether the same input may succeed when it is tried again, unchanged."""
    return isinstance(error, ItemError) and error.retryable
