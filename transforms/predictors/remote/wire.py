"""What travels between the pipeline and an endpoint, whatever the protocol.

A `WireFormat` writes requests and reads replies, and knows nothing of networks. A `Transport` carries them,
and knows nothing of models. What goes wrong on the way is a `CallFailed`, which tells what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from transforms.errors import ItemError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.records import Outputs


class Action(Enum):
    """What to do about a call that failed."""

    RETRY = "retry"
    """The same request may succeed later."""

    RETRY_THEN_BISECT = "retry, then bisect"
    """It may succeed later, or it holds an item that the server cannot bear: a few tries tell."""

    SPLIT = "split"
    """It is too large, or its answer is: the halves may do."""

    BISECT = "bisect"
    """It holds an item that the server refuses: the halves tell which."""

    GIVE_UP = "give up"
    """No request can succeed before somebody changes something: the address, the credentials, the server."""


class CallFailed(Exception):
    """A call has no usable answer.

    Attributes:
        action: What to do about it.
        status: A short name for counters: `503`, `UNAVAILABLE`, `connection`, `timeout`, `tls`, `answer`.
        retry_after: The seconds that the server asks to wait before the next try; None where it says nothing.
        overloaded: Whether the server has said that it has too much to do.
        attempts: How often the request was sent.
    """

    def __init__(
        self,
        message: str,
        *,
        action: Action,
        status: str,
        retry_after: float | None = None,
        overloaded: bool = False,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.action = action
        self.status = status
        self.retry_after = retry_after
        self.overloaded = overloaded
        self.attempts = attempts

    @property
    def message(self) -> str:
        """What happened, with the beginning of the server's own words."""
        return str(self)


@dataclass(frozen=True)
class Request:
    """A request, ready to be sent any number of times.

    Attributes:
        target: The absolute URL, or for gRPC the method: `/package.Service/Method`.
        body: What is sent.
        content_type: What it is; gRPC has one of its own.
        method: Of HTTP.
    """

    target: str
    body: bytes = b""
    content_type: str = "application/json"
    method: str = "POST"


@dataclass(frozen=True)
class Reply:
    """The answer to a request that succeeded.

    Attributes:
        body: As it came, bounded by the transport.
        headers: By their names in lower case.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """Carries requests, from any number of threads, over connections that it keeps."""

    def call(self, request: Request, timeout: float) -> Reply:
        """Send a request once, and return its answer.

        Args:
            request: What to send.
            timeout: The seconds that all of it may take, from connecting to the answer's last byte.

        Raises:
            CallFailed: There is no answer, or one that is no success.
        """

    def redact(self, text: str) -> str:
        """Return what a server has said without the secrets that it was sent."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True)
class EncodedItem:
    """What one item adds to a request.

    Attributes:
        parts: The encoded values; their order and form are the wire format's own business.
        size: The bytes that it adds to a request's body, at most.
        shapes: The shapes of its values that are arrays: only items with equal ones fit into one request.
    """

    parts: tuple[bytes, ...]
    size: int
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Parsed:
    """What an answer says.

    Attributes:
        rows: The outputs of each item, in order, or what is wrong with them.
        model_version: Which version of the model has answered; None where the answer does not say.
    """

    rows: Sequence[Outputs | ItemError]
    model_version: str | None = None


@dataclass(frozen=True)
class Metadata:
    """What a server tells of its model.

    Attributes:
        signatures: By name; one that is alone and nameless is called like the one that was asked for.
        model_version: Which version they are of; None where the server does not say.
    """

    signatures: Mapping[str, Signature]
    model_version: str | None = None


class WireFormat(Protocol):
    """How one protocol writes a batch down, and how it answers; without state, and picklable."""

    @property
    def max_items(self) -> int | None:
        """The most items in a request; None for any number."""

    def encode(self, values: Values) -> EncodedItem:
        """Encode one item.

        Args:
            values: By the names of the inputs: `bytes` (of a file), `str` (names, texts), NumPy arrays and
                scalars without a batch dimension. An input without a name is the whole instance.

        Raises:
            ItemError: The protocol cannot carry the item.
        """

    def overhead(self, shared: Tensors) -> int:
        """Return the bytes of a request's body beyond its items, at most."""

    def request(self, items: Sequence[EncodedItem], shared: Tensors, version: str | None) -> Request:
        """Put items into one request.

        Args:
            items: At least one; no more than `max_items`, and all of equal shapes.
            shared: The values of inputs that have no batch dimension.
            version: Which version of the model to ask; None for the one that the endpoint's address names, or
                that the server chooses.
        """

    def parse(self, reply: Reply, count: int, outputs: Sequence[TensorSpec]) -> Parsed:
        """Read an answer to a request of `count` items.

        Args:
            reply: The answer.
            count: How many items it must answer for.
            outputs: The outputs that there must be. Others are left out. An answer that names none is taken
                for the only one.

        Raises:
            CallFailed: It is not an answer for these items: `BISECT` where it holds an error, or answers for
                another number of items; `GIVE_UP` where it is not of this protocol at all. The message has
                the beginning of its body.
        """

    def describe(self, reply: Reply) -> tuple[TensorSpec, ...]:
        """Tell the outputs, sorted by name, by the answer to a request of one item.

        Where the protocol does not tell types, whole numbers are int64, other numbers float64. The first
        dimension of each is None, the batch's; the others are those of this answer, or None where it says
        nothing.

        Raises:
            CallFailed: See `parse`.
        """

    def metadata_request(self, version: str | None) -> Request | None:
        """Make the request for the model's metadata; None where the protocol has none."""

    def read_metadata(self, reply: Reply) -> Metadata:
        """Read the answer to it.

        Raises:
            CallFailed: `GIVE_UP`: it is none.
        """
