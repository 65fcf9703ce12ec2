"""Conversion — between the contract's protobuf messages and the model, in both directions.

Owns the translation of fields, times and metadata. Not here: whether a draft is valid (`core.validation`).
Invariant: metadata comes out equal to what went in; equal metadata has equal bytes.
"""

__all__ = [
    "delivery_to_proto",
    "draft_from_proto",
    "duration_to_ms",
    "message_to_proto",
    "metadata_to_json",
    "metadata_too_deep",
    "receipt_to_proto",
    "response_to_proto",
    "timestamp_from_ms",
]

import json
import math
import re
from decimal import Decimal
from typing import Any

import orjson
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import parse_message_id
from mailroomd.model.announcement import Receipt, Response
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.ids import format_id
from mailroomd.model.limits import MAX_METADATA_BYTES, MAX_METADATA_DEPTH, MAX_STRUCT_BYTES, MAX_STRUCT_VALUES
from mailroomd.model.message import Draft, Message, Priority
from mailroomd.model.states import DeliveryState

MAX_EXACT_INTEGER = 1 << 53  # a Struct's numbers are doubles: up to here integers are exact, and written as integers
_NO_METADATA = b"{}"
_SUSPECT_NUMBER = re.compile(rb"[\d.]{16}|\d[eE]")  # too long or too large for a double, or text that looks so
# Metadata that is larger than this as a Struct, or has more values, is too large as JSON, too: a number takes at least
# two bytes there ("1,") and eleven as a Struct. Both are known, or found, long before the JSON is made.
_MAX_METADATA_STRUCT_BYTES = 6 * MAX_METADATA_BYTES
_MAX_METADATA_VALUES = MAX_METADATA_BYTES // 2


def draft_from_proto(request: pb.SendMessageRequest, recipient: str = "", *, verified: bool = False) -> Draft:
    """Returns a request's draft; `core.validation` checks the rest.

    Args:
        request: the sender's request.
        recipient: the recipient of this copy, for a broadcast.
        verified: whether the sender has proved its name.

    Raises:
        MailroomError: priority, metadata, in_reply_to or ttl has a value that a Draft cannot hold.
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
            proto.metadata.update(orjson.loads(draft.metadata))
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
        proto.body.update(orjson.loads(response.body))
    return proto


def _has_inexact_number(body: bytes) -> bool:
    """Returns whether JSON has a number that a double, as a Struct has it, would change."""
    if not _SUSPECT_NUMBER.search(body):  # which spares most bodies the slower look at each number
        return False
    is_inexact = False

    def check(text: str) -> float:
        nonlocal is_inexact
        number = float(text)
        is_inexact = is_inexact or not math.isfinite(number) or Decimal(text) != Decimal(repr(number))
        return number

    json.loads(body, parse_int=check, parse_float=check)
    return is_inexact


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


def metadata_to_json(metadata: struct_pb2.Struct) -> bytes:
    """Returns metadata as canonical JSON.

    Raises:
        MailroomError: metadata is certainly too large, is nested too deeply, or has a number that JSON cannot
            represent.
    """
    if metadata.ByteSize() > _MAX_METADATA_STRUCT_BYTES:
        raise _metadata_too_large()
    return orjson.dumps(_StructReader().read_struct(metadata, 1), option=orjson.OPT_SORT_KEYS)


def metadata_too_deep() -> MailroomError:
    """Returns the error for metadata that is nested too deeply."""
    sentence = f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels: flatten it"
    return MailroomError(Reason.METADATA_TOO_DEEP, sentence, field="metadata")


def _metadata_too_large() -> MailroomError:
    sentence = f"metadata is larger than {MAX_METADATA_BYTES:,} bytes as JSON: send less, or send it as content"
    return MailroomError(Reason.METADATA_TOO_LARGE, sentence, field="metadata")


class _StructReader:
    """Reads one Struct into plain values, and gives up when it has too many of them."""

    def __init__(self) -> None:
        self._values_left = _MAX_METADATA_VALUES

    def read_struct(self, struct: struct_pb2.Struct, depth: int) -> dict[str, Any]:
        _check_depth(depth)
        return {name: self._read_value(value, depth) for name, value in struct.fields.items()}

    def _read_list(self, items: struct_pb2.ListValue, depth: int) -> list[Any]:
        _check_depth(depth)
        return [self._read_value(item, depth) for item in items.values]

    def _read_value(self, value: struct_pb2.Value, depth: int) -> Any:
        self._values_left -= 1
        if self._values_left < 0:
            raise _metadata_too_large()
        kind = value.WhichOneof("kind")
        if kind == "struct_value":
            return self.read_struct(value.struct_value, depth + 1)
        if kind == "list_value":
            return self._read_list(value.list_value, depth + 1)
        if kind == "number_value":
            return _plain_number(value.number_value)
        return None if kind in (None, "null_value") else getattr(value, kind)


def _check_depth(depth: int) -> None:
    if depth > MAX_METADATA_DEPTH:
        raise metadata_too_deep()


def _plain_number(number: float) -> int | float:
    if not math.isfinite(number):
        raise MailroomError(
            Reason.METADATA_INVALID,
            "metadata has a number that JSON cannot represent: NaN or infinity",
            field="metadata",
        )
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT_INTEGER else number


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
