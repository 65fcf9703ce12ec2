"""Names in the contract: no two fields of a message lead to one method in the generated code of a language.

Java derives several accessors from a field; `content_bytes` beside the string `content` made `getContentBytes` twice,
which does not compile. Source: https://protobuf.dev/reference/java/java-generated/#fields
"""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from mailroom.v1 import mailroom_pb2 as pb


def messages(found: dict[str, Descriptor] | None = None) -> Iterator[Descriptor]:
    for message in (found or pb.DESCRIPTOR.message_types_by_name).values():
        yield message
        if message.nested_types_by_name:
            yield from messages(dict(message.nested_types_by_name))


def accessors(field: FieldDescriptor) -> set[str]:
    """Returns the names after `get` that Java's generator makes for a field."""
    name = "".join(part.capitalize() for part in field.name.split("_"))
    suffixes = [""]
    if field.type == field.TYPE_STRING:
        suffixes.append("Bytes")
    if field.type == field.TYPE_ENUM:
        suffixes.append("Value")
    if field.type == field.TYPE_MESSAGE:
        suffixes += ["Builder", "OrBuilder"]
    if field.is_repeated:
        suffixes += ["List", "Count", "ValueList", "BuilderList", "OrBuilderList", "Map", "OrDefault", "OrThrow"]
    return {name + suffix for suffix in suffixes}


@pytest.mark.parametrize("message", list(messages()), ids=lambda message: message.full_name)
def test_no_two_fields_share_an_accessor(message: Descriptor) -> None:
    taken: dict[str, str] = {"SerializedSize": "protobuf", "UnknownFields": "protobuf", "AllFields": "protobuf"}
    for field in message.fields:
        for accessor in accessors(field):
            assert taken.setdefault(accessor, field.name) == field.name, f"get{accessor} of {taken[accessor]}"
