"""Conversion — between the contract's protobuf messages and the model, in both directions.

Owns the translation of fields and times; the fields of a message are those of `mailroom.message_fields`. Not here:
metadata and bodies (`gateway.structs`), whether a draft is valid (`core.validation`).
"""

__all__ = [
    "delivery_to_proto",
    "draft_from_proto",
    "duration_to_ms",
    "message_to_proto",
    "preview_to_proto",
    "receipt_to_proto",
    "response_to_proto",
    "timestamp_from_ms",
]

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import cast

import orjson
from google.protobuf import duration_pb2, timestamp_pb2
from mailroom.generated import generate
from mailroom.message_fields import (
    FIELDS,
    FLAG,
    LIFETIME,
    MESSAGE_ID,
    MOMENT,
    NAME,
    OBJECT,
    PRIORITY,
    TEXT,
    Kind,
    MessageField,
)
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.validation import parse_message_id
from mailroomd.gateway.cooperation import work_in_thread
from mailroomd.gateway.structs import encode_struct, metadata_to_json
from mailroomd.model.announcement import Receipt, Response
from mailroomd.model.clock import now_ms
from mailroomd.model.departure import Departure
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
        MailroomError: a field has a value that a Draft cannot hold, or that is not allowed now.
    """
    encoded = cast("bytes", request.metadata)
    if len(encoded) > LARGE_METADATA_BYTES:
        metadata = await work_in_thread(metadata_to_json, encoded)
    else:
        metadata = metadata_to_json(encoded) if encoded else _NO_METADATA
    return _draft_of(request, recipient or request.recipient, metadata, verified)


def message_to_proto(message: Message, *, with_body: bool = True) -> pb.Message:
    """Returns a stored message as a protobuf message, with or without content and metadata."""
    draft = message.draft
    proto: pb.Message = _proto_of(message, draft)
    if with_body:
        proto.content = draft.content
        if draft.metadata == _NO_METADATA:
            proto.metadata.SetInParent()
        else:
            proto.metadata.MergeFromString(encode_struct(orjson.loads(draft.metadata)))
    return proto


def preview_to_proto(message: Message, preview_bytes: int) -> pb.Message:
    """Returns a stored message with the beginning of its content, up to the end of a character, and no metadata."""
    proto = message_to_proto(message, with_body=False)
    content = message.draft.content.encode()
    proto.content = content[:preview_bytes].decode(errors="ignore")
    if len(content) > preview_bytes:
        proto.content_size = len(content)
    return proto


def delivery_to_proto(
    message: Message,
    file_error: str,
    subscribers: int,
    recipient_seen_ms: int,
    team_inbox_error: str = "",
    departure: Departure | None = None,
    also_at: Sequence[str] = (),
) -> pb.Delivery:
    """Returns the state of a message's delivery, for its sender.

    An entry is written for members of a team only, so one that has its entry is known.

    Args:
        departure: of a message for another host.
        also_at: other hosts that list the recipient, which is not known here.
    """
    has_entry = "@" in message.draft.recipient and not team_inbox_error and message.state < DeliveryState.EXPIRED
    proto = pb.Delivery(
        state=message.state.value,  # pyright: ignore[reportArgumentType]
        inbox_file_error=file_error,
        team_inbox_error=team_inbox_error,
        subscribers=max(0, subscribers),
        recipient_known=recipient_seen_ms > 0 or has_entry,
        also_at=also_at,
    )
    if departure is not None:
        proto.reason = departure.reason
        if message.state is DeliveryState.STORED:
            has_left = departure.has_left
            proto.state = pb.DELIVERY_STATE_FORWARDED if has_left else pb.DELIVERY_STATE_QUEUED
    if recipient_seen_ms:
        proto.recipient_last_seen.FromMilliseconds(recipient_seen_ms)
    return proto


def receipt_to_proto(receipt: Receipt) -> pb.Receipt:
    """Returns a receipt as a protobuf message, without a time if that is not known yet."""
    proto = pb.Receipt(
        message_id=format_id(receipt.message_id),
        recipient=receipt.recipient,
        state=receipt.state.value,  # pyright: ignore[reportArgumentType]
        by=receipt.by,
        reason=receipt.reason,
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


# -- the fields of a message, by their kinds ---------------------------------------------------------------------------


def _priority(value: int, field: str) -> int:
    try:
        return Priority(value)
    except ValueError:
        sentence = f"{field} {value} does not exist: use 1 (low) to 4 (urgent)"
        raise MailroomError(Reason.PRIORITY_INVALID, sentence, field=field) from None


def _lifetime_ms(duration: duration_pb2.Duration, field: str, reason: str) -> int:
    milliseconds = duration_to_ms(duration, Reason[reason], field)
    if milliseconds == 0:
        sentence = f"{field} must be between one millisecond and ten years; omit it for no expiry"
        raise MailroomError(Reason[reason], sentence, field=field)
    return milliseconds


def _moment_ms(moment: timestamp_pb2.Timestamp, field: str, reason: str, limit_ms: int) -> int:
    milliseconds = moment.seconds * 1000 - (-moment.nanos // 1_000_000)  # rounded up, as a duration is
    if not (0 <= moment.nanos <= 999_999_999 and 0 < milliseconds <= now_ms() + limit_ms):
        sentence = f"{field} must be a time after 1970 and at most ten years ahead; omit it if there is none"
        raise MailroomError(Reason[reason], sentence, field=field)
    return milliseconds


_FROM_REQUEST: dict[Kind, str] = {  # the value in a draft; the caller has name, metadata and whether it is verified
    NAME: "request.{name}",
    TEXT: "request.{name} or {absent!r}",
    OBJECT: "{name}",
    MESSAGE_ID: "parse_message_id(request.{name}, {name!r}) if request.{name} else 0",
    PRIORITY: "priority(request.{name}, {name!r}) if request.{name} else {absent}",
    LIFETIME: "lifetime_ms(request.{name}, {name!r}, {reason!r}) if request.HasField({name!r}) else 0",
    MOMENT: "moment_ms(request.{name}, {name!r}, {reason!r}, {limit}) if request.HasField({name!r}) else 0",
    FLAG: "{name}",
}
_TO_MESSAGE: dict[Kind, str] = {  # the value in the contract's message, unless it is absent
    MESSAGE_ID: "proto.{shown} = format_id(draft.{stored})",
    LIFETIME: "proto.{shown}.FromMilliseconds(message.timestamp_ms + draft.{stored})",
    MOMENT: "proto.{shown}.FromMilliseconds(draft.{stored})",
}


def _filled(template: str, field: MessageField) -> str:
    """Returns the code for one field."""
    values = {"name": field.name, "stored": field.stored, "shown": field.shown}
    return template.format(**values, absent=field.absent, reason=field.reason, limit=field.limit)


_draft_of = generate(
    f"""def draft_of(request, recipient, metadata, verified):
    return Draft(recipient, {", ".join(_filled(_FROM_REQUEST[field.kind], field) for field in FIELDS[1:])})
""",
    {
        "Draft": Draft,
        "parse_message_id": parse_message_id,
        "priority": _priority,
        "lifetime_ms": _lifetime_ms,
        "moment_ms": _moment_ms,
    },
)
_PLAIN = [field for field in FIELDS if field.kind not in _TO_MESSAGE and field.name not in ("content", "metadata")]
_RARE = [field for field in FIELDS if field.kind in _TO_MESSAGE]  # most messages have none of these
_proto_of = generate(
    f"""def proto_of(message, draft):
    proto = Message(
        id=format_id(message.id), timestamp=timestamp_from_ms(message.timestamp_ms),
        read=message.state == {DeliveryState.READ:d}, state=message.state.value,
        {", ".join(_filled("{shown}=draft.{stored}", field) for field in _PLAIN)},
    )
{"".join(_filled(f"    if draft.{{stored}}: {_TO_MESSAGE[field.kind]}{chr(10)}", field) for field in _RARE)}
    return proto
""",
    {"Message": pb.Message, "format_id": format_id, "timestamp_from_ms": timestamp_from_ms},
)
