"""request_decoding — decodes requests, after their encoded form has shown that this is cheap.

Owns the bounds of what decoding may cost. A request of 16 MiB may hold millions of entries, and each takes a hundred
bytes and a microsecond. They are counted in the encoded request, and counting ends with the first one too many.
Not here: metadata, which stays encoded (`request_types`).
Invariant: decoding occupies the loop for some milliseconds at a time, and holds a small multiple of the request.
"""

__all__ = ["check_shape", "decode", "malformed"]

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from mailroomd.gateway.cooperation import LoopShare
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_BROADCAST_RECIPIENTS, MAX_BULK_MESSAGES, MAX_IDS_PER_CALL

CHEAP_BYTES = 64 << 10  # decoded as it is: at most some milliseconds, and most requests are smaller
SLICE_BYTES = 256 << 10  # decoded before other calls get a turn: at most some milliseconds
MAX_ENTRIES = max(MAX_BROADCAST_RECIPIENTS, MAX_BULK_MESSAGES, MAX_IDS_PER_CALL)  # of one repeated field
MAX_OTHER_FIELDS = 32  # of one message: the contract has ten, and newer clients may know some more

_VARINT, _64_BIT, _LENGTH_DELIMITED, _32_BIT = 0, 1, 2, 5  # source: protobuf.dev/programming-guides/encoding
_FIXED_BYTES = {_64_BIT: 8, _32_BIT: 4}
_MAX_VARINT_BYTES = 10

RequestType = TypeVar("RequestType", bound=Message)


async def decode(request_type: type[RequestType], encoded: bytes) -> RequestType:
    """Returns a decoded request.

    Raises:
        MailroomError: the bytes are not such a request, or it has too many entries.
        MemoryError: there is not enough memory; protobuf reports that as a DecodeError.
    """
    try:
        if len(encoded) <= CHEAP_BYTES:
            return request_type.FromString(encoded)
        request, share, start = request_type(), LoopShare(), 0
        for end in check_shape(request_type.DESCRIPTOR, encoded):
            request.MergeFromString(encoded[start:end])  # merging the slices equals decoding the whole
            start = end
            await share.yield_if_due()
        return request
    except DecodeError as error:
        if "alloc failed" in str(error):
            raise MemoryError from error
        raise malformed(request_type.DESCRIPTOR) from error


def check_shape(message: Any, encoded: bytes, start: int = 0, end: int | None = None) -> list[int]:
    """Checks that an encoded message has few fields, and returns the ends of the slices in which to decode it.

    Args:
        message: the message's descriptor.
        encoded: bytes that contain the message.
        start: where it begins.
        end: where it ends; None for the end of the bytes.

    Raises:
        MailroomError: TOO_MANY entries of a repeated field, or REQUEST_MALFORMED.
    """
    position, end = start, len(encoded) if end is None else end
    entries: dict[int, int] = {}
    slice_ends, other_fields = [start], 0
    while position < end:
        tag, position = _read_varint(message, encoded, position, end)
        field = message.fields_by_number.get(tag >> 3)
        field_start, position = _skip(message, encoded, tag & 7, position, end)
        if field is not None and field.is_repeated:
            count = entries[field.number] = entries.get(field.number, 0) + 1
            if count > MAX_ENTRIES:
                raise _too_many(field.name)
        else:
            other_fields += 1
            if other_fields > MAX_OTHER_FIELDS:
                raise malformed(message)
        if field is not None and field.message_type is not None and position - field_start > CHEAP_BYTES:
            check_shape(field.message_type, encoded, field_start, position)
        if position - slice_ends[-1] >= SLICE_BYTES:
            slice_ends.append(position)
    return [*slice_ends[1:], end]


def _skip(message: Any, encoded: bytes, wire_type: int, position: int, end: int) -> tuple[int, int]:
    """Returns where the content of a field begins and ends, given the position behind its tag."""
    start = position
    if wire_type == _LENGTH_DELIMITED:
        length, start = _read_varint(message, encoded, position, end)
        position = start + length
    elif wire_type == _VARINT:
        _, position = _read_varint(message, encoded, position, end)
    elif wire_type in _FIXED_BYTES:
        position += _FIXED_BYTES[wire_type]
    else:  # a group, which no version 3 of the language has
        raise malformed(message)
    if position > end:
        raise malformed(message)
    return start, position


def _read_varint(message: Any, encoded: bytes, position: int, end: int) -> tuple[int, int]:
    """Returns a number in protobuf's variable-length encoding, and the position behind it."""
    if position < end and encoded[position] < 128:  # as nearly all of them are
        return encoded[position], position + 1
    number = 0
    for index, byte in enumerate(encoded[position : min(position + _MAX_VARINT_BYTES, end)]):
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, position + index + 1
    raise malformed(message)


def _too_many(field: str) -> MailroomError:
    sentence = f"more than {MAX_ENTRIES:,} {field} in one request: use several requests"
    return MailroomError(Reason.TOO_MANY, sentence, field=field)


def malformed(message: Any) -> MailroomError:
    """Returns the error for bytes that are not the message of a descriptor."""
    sentence = f"not a valid {message.name} of version 1: check the contract, and that text is UTF-8"
    return MailroomError(Reason.REQUEST_MALFORMED, sentence)
