"""Conversion — between the contract's protobuf messages and the model, in both directions.

Owns the translation of fields and times; the fields of a message are those of `mailroom.message_fields`. Not here:
metadata and bodies (`gateway.structs`), whether a draft is valid (`core.validation`).
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
from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Any, cast

import orjson
from google.protobuf import duration_pb2, timestamp_pb2
from mailroom.message_fields import (
    FIELDS,
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
    values = [read(request) for read in _READERS]
    if recipient:
        values[_RECIPIENT] = recipient
    encoded = cast("bytes", values[_METADATA])
    if len(encoded) > LARGE_METADATA_BYTES:
        values[_METADATA] = await work_in_thread(metadata_to_json, encoded)
    else:
        values[_METADATA] = metadata_to_json(encoded) if encoded else _NO_METADATA
    values[_VERIFIED] = verified
    return Draft(*values)


def message_to_proto(message: Message, *, with_body: bool = True) -> pb.Message:
    """Returns a stored message as a protobuf message, with or without content and metadata."""
    draft = message.draft
    proto = pb.Message(
        id=format_id(message.id),
        timestamp=timestamp_from_ms(message.timestamp_ms),
        read=message.state is DeliveryState.READ,
        state=message.state.value,  # pyright: ignore[reportArgumentType] - same numbers as in the contract
        **dict(zip(_PLAIN_NAMES, _plain_values(draft), strict=True)),
    )
    if with_body:
        proto.content = draft.content
        if draft.metadata == _NO_METADATA:
            proto.metadata.SetInParent()
        else:
            proto.metadata.MergeFromString(encode_struct(orjson.loads(draft.metadata)))
    rare_values = _rare_values(draft)
    if any(rare_values):
        for (name, write), value in zip(_RARE, rare_values, strict=True):
            if value:
                write(proto, name, value, message.timestamp_ms)
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


# -- one reader and one writer for each field of a message -------------------------------------------------------------


def _same(field: MessageField) -> Callable[[Any], Any]:
    return attrgetter(field.name)


def _read_text(field: MessageField) -> Callable[[Any], object]:
    name, absent = field.name, field.absent
    return lambda request: getattr(request, name) or absent


def _read_message_id(field: MessageField) -> Callable[[Any], int]:
    name = field.name

    def read(request: Any) -> int:
        text = getattr(request, name)
        return parse_message_id(text, name) if text else 0

    return read


def _read_priority(field: MessageField) -> Callable[[Any], int]:
    name = field.name

    def read(request: Any) -> int:
        value = getattr(request, name)
        if not value:
            return Priority.NORMAL
        try:
            return Priority(value)
        except ValueError:
            sentence = f"{name} {value} does not exist: use 1 (low) to 4 (urgent)"
            raise MailroomError(Reason.PRIORITY_INVALID, sentence, field=name) from None

    return read


def _read_lifetime(field: MessageField) -> Callable[[Any], int]:
    name, reason = field.name, Reason[field.reason]

    def read(request: Any) -> int:
        if not request.HasField(name):
            return 0
        milliseconds = duration_to_ms(getattr(request, name), reason, name)
        if milliseconds == 0:
            sentence = f"{name} must be between one millisecond and ten years; omit it for no expiry"
            raise MailroomError(reason, sentence, field=name)
        return milliseconds

    return read


def _read_moment(field: MessageField) -> Callable[[Any], int]:
    name, reason, limit_ms = field.name, Reason[field.reason], field.limit

    def read(request: Any) -> int:
        if not request.HasField(name):
            return 0
        moment = getattr(request, name)
        milliseconds = moment.seconds * 1000 - (-moment.nanos // 1_000_000)  # rounded up, as a duration is
        if not (0 <= moment.nanos <= 999_999_999 and 0 < milliseconds <= now_ms() + limit_ms):
            sentence = f"{name} must be a time after 1970 and at most ten years ahead; omit it if there is none"
            raise MailroomError(reason, sentence, field=name)
        return milliseconds

    return read


def _not_sent(field: MessageField) -> Callable[[Any], Any]:
    return lambda _: field.absent


def _write_message_id(proto: pb.Message, name: str, message_id: int, _: int) -> None:
    setattr(proto, name, format_id(message_id))


def _write_lifetime(proto: pb.Message, name: str, milliseconds: int, timestamp_ms: int) -> None:
    getattr(proto, name).FromMilliseconds(timestamp_ms + milliseconds)


def _write_moment(proto: pb.Message, name: str, milliseconds: int, _: int) -> None:
    getattr(proto, name).FromMilliseconds(milliseconds)


_READERS_BY_KIND: dict[Kind, Callable[[MessageField], Callable[[Any], Any]]] = {
    NAME: _same,
    TEXT: _read_text,
    OBJECT: _same,
    MESSAGE_ID: _read_message_id,
    PRIORITY: _read_priority,
    LIFETIME: _read_lifetime,
    MOMENT: _read_moment,
}
_READERS = [_READERS_BY_KIND[field.kind](field) if field.is_sent else _not_sent(field) for field in FIELDS]
_RECIPIENT, _METADATA, _VERIFIED = map(Draft.__struct_fields__.index, ("recipient", "metadata", "verified"))

_BODY = ("content", "metadata")
_WRITERS_BY_KIND: dict[Kind, Callable[[pb.Message, str, Any, int], None]] = {  # most messages have none of these
    MESSAGE_ID: _write_message_id,
    LIFETIME: _write_lifetime,
    MOMENT: _write_moment,
}
_RARE_FIELDS = [field for field in FIELDS if field.kind in _WRITERS_BY_KIND]
_RARE = [(field.shown, _WRITERS_BY_KIND[field.kind]) for field in _RARE_FIELDS]
_rare_values = attrgetter(*(field.stored for field in _RARE_FIELDS))
_PLAIN_FIELDS = [field for field in FIELDS if field not in _RARE_FIELDS and field.name not in _BODY]
_PLAIN_NAMES = tuple(field.shown for field in _PLAIN_FIELDS)
_plain_values = attrgetter(*(field.stored for field in _PLAIN_FIELDS))
