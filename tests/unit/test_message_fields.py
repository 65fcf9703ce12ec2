"""The table of a message's fields agrees with everything that cannot be built from it: contract, typed classes."""

from mailroom.inbox_file import InboxFile
from mailroom.message_fields import FIELDS, LIFETIME, SENT_FIELDS
from mailroom.messages import Message
from mailroom.options import SendOptions
from mailroom.v1 import mailroom_pb2 as pb
from mailroomd.model.errors import Reason
from mailroomd.model.message import Draft
from mailroomd.storage.database.schema import SCHEMA_VERSION

ADDED_BY_THE_DAEMON = {"id", "timestamp", "read", "state", "content_size"}
SCALARS = {"string": "TYPE_STRING", "bool": "TYPE_BOOL"}


def is_of_type(descriptor: object, proto_type: str) -> bool:
    """Returns whether a field of the contract has the type that a kind says."""
    number = getattr(descriptor, "type")  # noqa: B009 - the stubs of descriptors have no types
    if proto_type in SCALARS:
        return number == getattr(descriptor, SCALARS[proto_type])
    found = getattr(descriptor, "message_type") or getattr(descriptor, "enum_type")  # noqa: B009
    return found.full_name == proto_type


def test_the_draft_has_the_fields_of_the_table_in_their_order_with_their_defaults() -> None:
    assert Draft.__struct_fields__ == tuple(field.stored for field in FIELDS)
    smallest = Draft("a", "b", "c")
    for field in FIELDS[3:]:
        assert getattr(smallest, field.stored) == field.absent, field.name


def test_the_contract_has_the_fields_of_the_table_with_their_types() -> None:
    request, message = pb.SendMessageRequest.DESCRIPTOR, pb.Message.DESCRIPTOR
    assert {*request.fields_by_name} == {field.name for field in SENT_FIELDS} | {"idempotency_key"}
    assert {*message.fields_by_name} == {field.shown for field in FIELDS} | ADDED_BY_THE_DAEMON
    for field in SENT_FIELDS:
        assert is_of_type(request.fields_by_name[field.name], field.kind.proto_type), field.name
    for field in FIELDS:
        proto_type = "google.protobuf.Timestamp" if field.kind is LIFETIME else field.kind.proto_type
        assert is_of_type(message.fields_by_name[field.shown], proto_type), field.shown


def test_the_sdk_has_the_fields_of_the_table() -> None:
    assert {*Message.__dataclass_fields__} == {field.shown for field in FIELDS} | ADDED_BY_THE_DAEMON
    assert {*SendOptions.__annotations__} == {field.name for field in SENT_FIELDS} - {"recipient", "content"} | {
        "idempotency_key"
    }


def test_an_inbox_file_has_a_typed_attribute_for_each_field_of_the_table() -> None:
    assert {*InboxFile.__slots__} == {*InboxFile.__annotations__}
    assert {*InboxFile.__slots__} == {field.shown for field in FIELDS} - {"recipient"} | {"id", "mailbox", "timestamp"}


def test_every_field_that_a_sender_sets_has_a_published_reason() -> None:
    assert [field.name for field in SENT_FIELDS if field.reason not in Reason.__members__] == []


def test_no_name_column_or_key_is_used_twice_and_no_column_is_of_a_later_schema() -> None:
    for names in (
        [field.name for field in FIELDS],
        [field.stored for field in FIELDS],
        [field.key for field in FIELDS],
    ):
        assert len({*names}) == len(names)
    assert max(field.since for field in FIELDS) <= SCHEMA_VERSION
