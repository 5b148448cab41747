"""TensorFlow Serving's REST API: rows (`instances`), or columns (`inputs`).

Source: tensorflow.org/tfx/serving/api_rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.endpoint import Endpoint
from transforms.predictors.remote.json_decoding import answer_failed, read_answer
from transforms.predictors.remote.json_encoding import (
    Pieces,
    encode_instance,
    encode_named,
    encode_text,
    instances_body,
    list_pieces,
    object_pieces,
    refuse_shared,
    shapes_of,
)
from transforms.predictors.remote.json_outputs import describe_row, predictions_of, read_rows, transposed
from transforms.predictors.remote.wire import Action, EncodedItem, Metadata, Parsed, Reply, Request
from transforms.predictors.saved_model import DEFAULT_SIGNATURE
from transforms.predictors.saved_model_files import DTYPES

RequestFormat = Literal["instances", "inputs"]
"""How a batch is written: item by item, or input by input."""

REQUEST_FORMATS: tuple[RequestFormat, ...] = get_args(RequestFormat)

_INTERNAL = "__saved_model_"
_SPECIAL_NAMES = {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}
_DTYPES = {f"DT_{_SPECIAL_NAMES.get(name, name.upper())}": name for name in DTYPES.values()}
"""NumPy's names by those of TensorFlow's `DataType`, as `types.proto` has them."""


@dataclass(frozen=True)
class TfServingFormat:
    """See `WireFormat`.

    Attributes:
        endpoint: The model's address.
        signature_name: Which of its signatures to call.
        request_format: `instances` for a list of items, `inputs` for a batch of each input. Inputs without a
            batch dimension need the latter.
    """

    endpoint: Endpoint
    signature_name: str = DEFAULT_SIGNATURE
    request_format: RequestFormat = "instances"

    def __post_init__(self) -> None:
        """Refuse a format that there is not.

        Raises:
            ValueError: `request_format` is another.
        """
        if self.request_format not in REQUEST_FORMATS:
            raise ValueError(f"request_format {self.request_format!r} must be one of {REQUEST_FORMATS}")

    @property
    def max_items(self) -> int | None:
        """See `WireFormat.max_items`."""
        return None

    def encode(self, values: Values) -> EncodedItem:
        """See `WireFormat.encode`."""
        if self.request_format == "instances":
            return encode_instance(values)
        pairs = encode_named(values)
        parts = tuple(part for name, value in pairs for part in (name, *value))
        return EncodedItem(parts, sum(map(len, parts)) + 4 * len(pairs), shapes_of(values))

    def overhead(self, shared: Tensors) -> int:
        """See `WireFormat.overhead`."""
        return len(self._body([], shared))

    def request(self, items: Sequence[EncodedItem], shared: Tensors, version: str | None) -> Request:
        """See `WireFormat.request`.

        Raises:
            ValueError: An input without a batch dimension cannot be sent with `instances`.
        """
        target = f"{self.endpoint.url}{self.endpoint.model_path(version)}:predict"
        return Request(target, self._body(items, shared))

    def parse(self, reply: Reply, count: int, outputs: Sequence[TensorSpec]) -> Parsed:
        """See `WireFormat.parse`."""
        return Parsed(read_rows(_predictions(reply, count, outputs), outputs))

    def describe(self, reply: Reply) -> tuple[TensorSpec, ...]:
        """See `WireFormat.describe`."""
        (prediction,) = _predictions(reply, 1, None)
        return describe_row(prediction, reply)

    def metadata_request(self, version: str | None) -> Request | None:
        """See `WireFormat.metadata_request`."""
        return Request(f"{self.endpoint.url}{self.endpoint.model_path(version)}/metadata", method="GET")

    def read_metadata(self, reply: Reply) -> Metadata:
        """See `WireFormat.read_metadata`; the version is the one that serves."""
        answer = read_answer(reply.body, "metadata", error=Action.GIVE_UP)
        try:
            found = answer["metadata"]["signature_def"]["signature_def"]
            signatures = {
                name: Signature(name, _specs(found[name].get("inputs")), _specs(found[name].get("outputs")))
                for name in sorted(found)
                if not name.startswith(_INTERNAL)
            }
            version = answer["model_spec"].get("version")
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise answer_failed("is no model's metadata", reply.body, Action.GIVE_UP) from error
        return Metadata(signatures, None if version is None else str(version))

    def _body(self, items: Sequence[EncodedItem], shared: Tensors) -> bytes:
        is_default = self.signature_name == DEFAULT_SIGNATURE
        others = [] if is_default else [(b'"signature_name"', (encode_text(self.signature_name),))]
        if self.request_format == "instances":
            refuse_shared(shared, "pass --request_format inputs")
            return instances_body(items, others)
        return b"".join(object_pieces([*others, (b'"inputs"', _columns(items, shared))]))


def _columns(items: Sequence[EncodedItem], shared: Tensors) -> Pieces:
    """Write the batch of each input by name, or the batch of the only input, which has no name."""
    names = items[0].parts[::2] if items else ()
    columns = [list_pieces(column) for column in zip(*(item.parts[1::2] for item in items), strict=True)]
    if b'""' in names:
        refuse_shared(shared, "the item's input needs a name beside it; pass --item_input")
        return columns[0]
    return object_pieces([*zip(names, columns, strict=True), *encode_named(shared)])


def _predictions(reply: Reply, count: int, specs: Sequence[TensorSpec] | None) -> Sequence[Any]:
    answer = read_answer(reply.body, "predictions", "outputs")
    if "predictions" in answer:
        return predictions_of(answer["predictions"], count, reply)
    return transposed(answer["outputs"], count, reply, specs)


def _specs(tensors: Mapping[str, Any] | None) -> tuple[TensorSpec, ...]:
    """Read the tensors of a signature, sorted by name; an empty map may be left out."""
    return tuple(
        TensorSpec(name, _dtype(tensor), _shape(tensor.get("tensor_shape") or {}))
        for name, tensor in sorted((tensors or {}).items())
    )


def _dtype(tensor: Mapping[str, Any]) -> str:
    if "composite_tensor" in tensor:
        return "ragged"
    dtype = str(tensor["dtype"])
    return "sparse" if "coo_sparse" in tensor else _DTYPES.get(dtype, dtype)


def _shape(shape: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    if shape.get("unknown_rank"):
        return None
    sizes = [int(dim.get("size", 0)) for dim in shape.get("dim", ())]  # 64 bits are strings in JSON
    return tuple(None if size < 0 else size for size in sizes)
