"""request_types — the types of requests as they are received: those of the contract, but with metadata still encoded.

Protobuf needs a hundred times the memory of a Struct's shortest values to decode them. So metadata is received as
bytes, which the wire format cannot tell from a Struct, and decoded once its message was admitted (`structs`).
Not here: the contract (`protos/`), whose names and field numbers these types have.
"""

__all__ = ["BroadcastMessageRequest", "SendMessageRequest", "SendMessagesRequest", "received_type"]

from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from mailroom.v1 import mailroom_pb2 as pb

_FIELD = descriptor_pb2.FieldDescriptorProto


def received_type(request: Any) -> type[Message]:
    """Returns the type in which requests are received, for a request's descriptor in the contract."""
    if request.file.name == pb.DESCRIPTOR.name:
        request = _POOL.FindMessageTypeByName(request.full_name)
    return message_factory.GetMessageClass(request)


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


_POOL = _received_types()
SendMessageRequest = cast("type[pb.SendMessageRequest]", received_type(pb.SendMessageRequest.DESCRIPTOR))
BroadcastMessageRequest = cast("type[pb.BroadcastMessageRequest]", received_type(pb.BroadcastMessageRequest.DESCRIPTOR))
SendMessagesRequest = cast("type[pb.SendMessagesRequest]", received_type(pb.SendMessagesRequest.DESCRIPTOR))
