"""Conversion — between the contract's protobuf messages and the model, both ways on one screen.

Owns the translation of fields, times and metadata. Not here: whether a draft may enter (`core.validation`).
Invariant: metadata that went in comes out equal; equal metadata has equal bytes.
"""

__all__ = [
    "delivery_of",
    "draft_of",
    "duration_ms",
    "message_to_proto",
    "metadata_to_json",
    "receipt_to_proto",
    "response_to_proto",
    "timestamp",
]

import math
from typing import Any

import orjson
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import parse_message_id
from mailroomd.model.announcement import Receipt, Response
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.ids import format_id
from mailroomd.model.limits import MAX_METADATA_DEPTH, MAX_STRUCT_BYTES, MAX_STRUCT_VALUES
from mailroomd.model.message import Draft, Message, Priority
from mailroomd.model.states import DeliveryState

EXACT_INTEGERS = 1 << 53  # a Struct's numbers are doubles: up to here each whole one is exact, and written as one
_NO_METADATA = b"{}"


def draft_of(request: pb.SendMessageRequest, recipient: str = "", *, verified: bool = False) -> Draft:
    """Returns what a sender asks for, not yet checked but for what cannot be said in a Draft.

    Args:
        recipient: the recipient of this copy, for a broadcast.
        verified: whether the sender has proved its name.

    Raises:
        MailroomError: priority, metadata, in_reply_to or ttl cannot be understood.
    """
    return Draft(
        recipient or request.recipient,
        request.sender,
        request.content,
        request.type or "text",
        metadata_to_json(request.metadata) if request.HasField("metadata") else _NO_METADATA,
        request.thread_id,
        parse_message_id(request.in_reply_to, "in_reply_to") if request.in_reply_to else 0,
        _priority(request.priority),
        _ttl_ms(request.ttl) if request.HasField("ttl") else 0,
        verified,
    )


def message_to_proto(message: Message, *, with_body: bool = True) -> pb.Message:
    """Returns a stored message as the contract has it; without content and metadata where they are not wanted."""
    draft = message.draft
    said = pb.Message(
        id=format_id(message.id),
        recipient=draft.recipient,
        sender=draft.sender,
        type=draft.type,
        timestamp=timestamp(message.timestamp_ms),
        read=message.state is DeliveryState.READ,
        thread_id=draft.thread_id,
        priority=draft.priority,  # pyright: ignore[reportArgumentType] - its numbers are the contract's
        state=message.state.value,  # pyright: ignore[reportArgumentType]
        sender_verified=draft.verified,
    )
    if with_body:
        said.content = draft.content
        if draft.metadata == _NO_METADATA:
            said.metadata.SetInParent()
        else:
            said.metadata.update(orjson.loads(draft.metadata))
    if draft.in_reply_to:
        said.in_reply_to = format_id(draft.in_reply_to)
    if message.expires_ms:
        said.expires_at.FromMilliseconds(message.expires_ms)
    return said


def delivery_of(
    state: DeliveryState, file_error: str, subscribers: int, recipient_seen_ms: int, team_inbox_error: str = ""
) -> pb.Delivery:
    """Returns what became of a message, for its sender."""
    said = pb.Delivery(
        state=state.value,  # pyright: ignore[reportArgumentType]
        inbox_file_error=file_error,
        team_inbox_error=team_inbox_error,
        subscribers=max(0, subscribers),
        recipient_known=recipient_seen_ms > 0,
    )
    if recipient_seen_ms:
        said.recipient_last_seen.FromMilliseconds(recipient_seen_ms)
    return said


def receipt_to_proto(receipt: Receipt) -> pb.Receipt:
    """Returns one step of a message as the contract has it; without a time where it is not known yet."""
    said = pb.Receipt(
        message_id=format_id(receipt.message_id),
        recipient=receipt.recipient,
        state=receipt.state.value,  # pyright: ignore[reportArgumentType]
    )
    if receipt.timestamp_ms:
        said.timestamp.FromMilliseconds(receipt.timestamp_ms)
    return said


def response_to_proto(response: Response) -> pb.CommandResponse:
    """Returns a response as the contract has it: its body as JSON text where a Struct would be slow."""
    said = pb.CommandResponse(
        session_id=response.session, file_name=response.file_name, timestamp=timestamp(response.timestamp_ms)
    )
    values = response.body.count(b",") + response.body.count(b":")  # about
    if len(response.body) > MAX_STRUCT_BYTES or values > MAX_STRUCT_VALUES:
        said.body_json = response.body.decode()
    else:
        said.body.update(orjson.loads(response.body))
    return said


def timestamp(milliseconds: int) -> timestamp_pb2.Timestamp:
    """Returns a moment as the contract has it."""
    return timestamp_pb2.Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def duration_ms(duration: duration_pb2.Duration, reason: Reason, field: str) -> int:
    """Returns a duration in milliseconds, rounded up.

    Raises:
        MailroomError: it is negative or not a duration at all.
    """
    nanos = duration.seconds * 1_000_000_000 + duration.nanos
    if nanos < 0 or abs(duration.nanos) > 999_999_999:
        raise MailroomError(reason, f"{field} is a time span of zero or more", field=field)
    return -(-nanos // 1_000_000)


def metadata_to_json(metadata: struct_pb2.Struct) -> bytes:
    """Returns metadata as canonical JSON.

    Raises:
        MailroomError: it is nested too deeply, or has a number that JSON does not know.
    """
    return orjson.dumps(_plain_struct(metadata, 1), option=orjson.OPT_SORT_KEYS)


def _plain_struct(struct: struct_pb2.Struct, depth: int) -> dict[str, Any]:
    if depth > MAX_METADATA_DEPTH:
        raise MailroomError(
            Reason.METADATA_TOO_DEEP, f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels", field="metadata"
        )
    return {name: _plain_value(value, depth) for name, value in struct.fields.items()}


def _plain_value(value: struct_pb2.Value, depth: int) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _plain_struct(value.struct_value, depth + 1)
    if kind == "list_value":
        return _plain_list(value.list_value, depth + 1)
    if kind == "number_value":
        return _plain_number(value.number_value)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _plain_list(items: struct_pb2.ListValue, depth: int) -> list[Any]:
    if depth > MAX_METADATA_DEPTH:
        raise MailroomError(
            Reason.METADATA_TOO_DEEP, f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels", field="metadata"
        )
    return [_plain_value(item, depth) for item in items.values]


def _plain_number(number: float) -> int | float:
    if not math.isfinite(number):
        raise MailroomError(
            Reason.METADATA_INVALID, "metadata has a number that JSON does not know (NaN or infinite)", field="metadata"
        )
    return int(number) if number.is_integer() and abs(number) <= EXACT_INTEGERS else number


def _priority(number: int) -> int:
    if not number:
        return Priority.NORMAL
    try:
        return Priority(number)  # `in` knows plain numbers from Python 3.12 on only
    except ValueError:
        raise MailroomError(Reason.PRIORITY_INVALID, f"priority has no value {number}", field="priority") from None


def _ttl_ms(ttl: duration_pb2.Duration) -> int:
    milliseconds = duration_ms(ttl, Reason.TTL_INVALID, "ttl")
    if milliseconds == 0:
        raise MailroomError(
            Reason.TTL_INVALID, "ttl is between one millisecond and ten years; leave it out for no end", field="ttl"
        )
    return milliseconds
