"""Conversion — between the contract's protobuf messages and the model, in both directions.

Owns the translation of fields and times. Not here: metadata and bodies (`gateway.structs`), whether a draft is valid
(`core.validation`).
"""

__all__ = [
    "delivery_to_proto",
    "draft_from_proto",
    "duration_to_ms",
    "message_to_proto",
    "receipt_to_proto",
    "response_to_proto",
    "timestamp_from_ms",
]

import json
import math
import re
from decimal import Decimal
from typing import cast

import orjson
from google.protobuf import duration_pb2, timestamp_pb2
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import parse_message_id
from mailroomd.gateway.cooperation import work_in_thread
from mailroomd.gateway.structs import encode_struct, metadata_to_json
from mailroomd.model.announcement import Receipt, Response
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.ids import format_id
from mailroomd.model.limits import MAX_STRUCT_BYTES, MAX_STRUCT_VALUES
from mailroomd.model.message import Draft, Message, Priority
from mailroomd.model.states import DeliveryState

LARGE_METADATA_BYTES = 16 << 10  # of a Struct: smaller ones are read within some milliseconds
_NO_METADATA = b"{}"
_EXACT_DIGITS = 15  # that a double keeps, whatever the number
_SUSPECT_NUMBER = re.compile(rb"[\d.]{16}|\d[eE]")  # too long or too large for a double, or text that looks so


async def draft_from_proto(request: pb.SendMessageRequest, recipient: str = "", *, verified: bool = False) -> Draft:
    """Returns a request's draft; `core.validation` checks the rest.

    Args:
        request: the sender's request, as received (`gateway.request_types`): its metadata is still encoded.
        recipient: the recipient of this copy, for a broadcast.
        verified: whether the sender has proved its name.

    Raises:
        MailroomError: priority, metadata, in_reply_to or ttl has a value that a Draft cannot hold.
    """
    encoded = cast("bytes", request.metadata)
    if len(encoded) > LARGE_METADATA_BYTES:
        metadata = await work_in_thread(metadata_to_json, encoded)
    else:
        metadata = metadata_to_json(encoded) if encoded else _NO_METADATA
    return Draft(
        recipient or request.recipient,
        request.sender,
        request.content,
        request.type or "text",
        metadata,
        request.thread_id,
        parse_message_id(request.in_reply_to, "in_reply_to") if request.in_reply_to else 0,
        _priority(request.priority),
        _ttl_ms(request.ttl) if request.HasField("ttl") else 0,
        verified,
    )


def message_to_proto(message: Message, *, with_body: bool = True) -> pb.Message:
    """Returns a stored message as a protobuf message, with or without content and metadata."""
    draft = message.draft
    proto = pb.Message(
        id=format_id(message.id),
        recipient=draft.recipient,
        sender=draft.sender,
        type=draft.type,
        timestamp=timestamp_from_ms(message.timestamp_ms),
        read=message.state is DeliveryState.READ,
        thread_id=draft.thread_id,
        priority=draft.priority,  # pyright: ignore[reportArgumentType] - same numbers as in the contract
        state=message.state.value,  # pyright: ignore[reportArgumentType]
        sender_verified=draft.verified,
    )
    if with_body:
        proto.content = draft.content
        if draft.metadata == _NO_METADATA:
            proto.metadata.SetInParent()
        else:
            proto.metadata.MergeFromString(encode_struct(orjson.loads(draft.metadata)))
    if draft.in_reply_to:
        proto.in_reply_to = format_id(draft.in_reply_to)
    if message.expires_ms:
        proto.expires_at.FromMilliseconds(message.expires_ms)
    return proto


def delivery_to_proto(
    state: DeliveryState, file_error: str, subscribers: int, recipient_seen_ms: int, team_inbox_error: str = ""
) -> pb.Delivery:
    """Returns the state of a message's delivery, for its sender."""
    proto = pb.Delivery(
        state=state.value,  # pyright: ignore[reportArgumentType]
        inbox_file_error=file_error,
        team_inbox_error=team_inbox_error,
        subscribers=max(0, subscribers),
        recipient_known=recipient_seen_ms > 0,
    )
    if recipient_seen_ms:
        proto.recipient_last_seen.FromMilliseconds(recipient_seen_ms)
    return proto


def receipt_to_proto(receipt: Receipt) -> pb.Receipt:
    """Returns a receipt as a protobuf message, without a time if that is not known yet."""
    proto = pb.Receipt(
        message_id=format_id(receipt.message_id),
        recipient=receipt.recipient,
        state=receipt.state.value,  # pyright: ignore[reportArgumentType]
    )
    if receipt.timestamp_ms:
        proto.timestamp.FromMilliseconds(receipt.timestamp_ms)
    return proto


def response_to_proto(response: Response) -> pb.CommandResponse:
    """Returns a response as a protobuf message, with its body as JSON text if a Struct would be slow or inexact."""
    proto = pb.CommandResponse(
        session_id=response.session, file_name=response.file_name, timestamp=timestamp_from_ms(response.timestamp_ms)
    )
    values = response.body.count(b",") + response.body.count(b":")  # an estimate
    if len(response.body) > MAX_STRUCT_BYTES or values > MAX_STRUCT_VALUES or _has_inexact_number(response.body):
        proto.body_json = response.body.decode()
    else:
        proto.body.MergeFromString(encode_struct(orjson.loads(response.body)))
    return proto


def _has_inexact_number(body: bytes) -> bool:
    """Returns whether JSON has a number that a double, as a Struct has it, would change."""
    if not _SUSPECT_NUMBER.search(body):  # which spares most bodies the slower look at each number
        return False
    try:
        json.loads(body, parse_int=_check_number, parse_float=_check_number)
    except _InexactNumber:
        return True
    return False


class _InexactNumber(Exception):  # noqa: N818 - a finding, not a defect
    pass


def _check_number(text: str) -> float:
    number = float(text)
    if len(text) <= _EXACT_DIGITS and "e" not in text and "E" not in text:
        return number
    if repr(number) != text and (not math.isfinite(number) or Decimal(text) != Decimal(repr(number))):
        raise _InexactNumber
    return number


def timestamp_from_ms(milliseconds: int) -> timestamp_pb2.Timestamp:
    """Returns a time, milliseconds since 1970, as a protobuf message."""
    return timestamp_pb2.Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def duration_to_ms(duration: duration_pb2.Duration, reason: Reason, field: str) -> int:
    """Returns a duration in milliseconds, rounded up.

    Raises:
        MailroomError: the duration is negative or malformed.
    """
    nanos = duration.seconds * 1_000_000_000 + duration.nanos
    if nanos < 0 or abs(duration.nanos) > 999_999_999:
        raise MailroomError(reason, f"{field} must be a duration of zero or more", field=field)
    return -(-nanos // 1_000_000)


def _priority(value: int) -> int:
    if not value:
        return Priority.NORMAL
    try:
        return Priority(value)
    except ValueError:
        sentence = f"priority {value} does not exist: use 1 (low) to 4 (urgent)"
        raise MailroomError(Reason.PRIORITY_INVALID, sentence, field="priority") from None


def _ttl_ms(ttl: duration_pb2.Duration) -> int:
    milliseconds = duration_to_ms(ttl, Reason.TTL_INVALID, "ttl")
    if milliseconds == 0:
        raise MailroomError(
            Reason.TTL_INVALID, "ttl must be between one millisecond and ten years; omit it for no expiry", field="ttl"
        )
    return milliseconds
