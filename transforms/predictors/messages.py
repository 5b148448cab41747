"""Protocol buffers of others, declared in a few lines: only those fields that are read.

TensorFlow and TensorFlow Serving bring their own classes, at the price of importing all of TensorFlow.
Unknown fields are skipped by the parser, so a subset is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Messages = Mapping[str, Mapping[str, tuple[int, str, bool]]]
"""Message -> field -> (number, type, is it repeated); a type that starts with a dot is a message's."""

_PACKAGE = "beam_predict"


def message_classes(messages: Messages) -> dict[str, Any]:
    """Build the classes of messages, in a pool of their own: TensorFlow may register the full ones later."""
    file = descriptor_pb2.FileDescriptorProto(name="subset.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in messages.items():
        declared = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            _declare(declared, field, number, kind, repeated)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in messages}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def _declare(
    declared: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str, repeated: bool
) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    field = declared.field.add(name=name, number=number)
    field.label = proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL
    if kind.startswith("."):
        field.type = proto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}{kind}"
    else:
        field.type = proto.Type.Value(f"TYPE_{kind.upper()}")
