"""request_types — the requests that carry metadata, as they are received: with metadata still encoded.

Protobuf needs a hundred times the memory of a Struct's shortest values to decode them. So metadata is received as
bytes, which the wire format cannot tell from a Struct, and decoded once its message was admitted (`structs`).
Not here: the contract (`protos/`), whose names and field numbers these types have.
"""

__all__ = ["BroadcastMessageRequest", "SendMessageRequest", "SendMessagesRequest"]

from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mailroom.v1 import mailroom_pb2 as pb

_FIELD = descriptor_pb2.FieldDescriptorProto


def _received_types() -> descriptor_pool.DescriptorPool:
    """Returns the contract's types, except that a SendMessageRequest's metadata is bytes."""
    file = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    request = next(message for message in file.message_type if message.name == "SendMessageRequest")
    metadata = next(field for field in request.field if field.name == "metadata")
    metadata.type = _FIELD.TYPE_BYTES
    metadata.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    for dependency in pb.DESCRIPTOR.dependencies:
        pool.AddSerializedFile(dependency.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _type(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{pb.DESCRIPTOR.package}.{name}"))


_POOL = _received_types()
# The types of the contract, but for the type of `metadata`, which is bytes.
SendMessageRequest = cast("type[pb.SendMessageRequest]", _type("SendMessageRequest"))
BroadcastMessageRequest = cast("type[pb.BroadcastMessageRequest]", _type("BroadcastMessageRequest"))
SendMessagesRequest = cast("type[pb.SendMessagesRequest]", _type("SendMessagesRequest"))
