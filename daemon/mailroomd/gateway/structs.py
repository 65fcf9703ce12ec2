"""structs — between JSON and google.protobuf.Struct, whose values protobuf's own methods convert one by one.

Owns the bounds of that work. A Struct is encoded here byte by byte, in a third of the time of `Struct.update`. Reading
the largest lawful metadata takes up to 0.1 s: do that in a thread (`cooperation.work_in_thread`).
Not here: whether metadata is valid otherwise (`core.validation`).
Invariant: metadata comes out equal to what went in; equal metadata has equal bytes.
"""

__all__ = ["encode_struct", "encode_varint", "metadata_to_json"]

import math
import struct
from typing import Any

import orjson
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError

from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_METADATA_BYTES, MAX_METADATA_DEPTH

MAX_EXACT_INTEGER = 1 << 53  # a Struct's numbers are doubles: up to here integers are exact, and written as integers
# Metadata that is larger than this as a Struct, or has more values, is too large as JSON, too: a number takes at least
# two bytes there ("1,") and eleven as a Struct. Both are known, or found, long before the JSON is made.
_MAX_METADATA_STRUCT_BYTES = 6 * MAX_METADATA_BYTES
_MAX_METADATA_VALUES = MAX_METADATA_BYTES // 2

# Tags of the fields of Struct, its map entries, Value and ListValue. Source: google/protobuf/struct.proto.
_LIST_ENTRY = _MAP_ENTRY = _KEY = b"\x0a"
_VALUE = b"\x12"
_NULL, _FALSE, _TRUE = b"\x08\x00", b"\x20\x00", b"\x20\x01"
_NUMBER, _STRING, _STRUCT, _LIST = b"\x11", b"\x1a", b"\x2a", b"\x32"
_pack_number = struct.Struct("<cd").pack
_ONE_BYTE = [bytes([number]) for number in range(128)]


def metadata_to_json(encoded: bytes) -> bytes:
    """Returns metadata, an encoded Struct, as canonical JSON.

    Raises:
        MailroomError: metadata is certainly too large, is nested too deeply, is malformed, or has a number that JSON
            cannot represent.
        MemoryError: there is not enough memory; protobuf reports that as a DecodeError.
    """
    if len(encoded) > _MAX_METADATA_STRUCT_BYTES:
        raise _metadata_too_large()
    try:
        metadata = struct_pb2.Struct.FromString(encoded)
    except DecodeError as error:
        if "alloc failed" in str(error):
            raise MemoryError from error
        if "MaxDepth" in str(error):  # protobuf's own bound is a little above ours
            raise _metadata_too_deep() from error
        sentence = "metadata is not a valid Struct: check the contract, and that text is UTF-8"
        raise MailroomError(Reason.REQUEST_MALFORMED, sentence) from error
    return orjson.dumps(_StructReader().read_struct(metadata, 1), option=orjson.OPT_SORT_KEYS)


def encode_struct(fields: dict[str, Any]) -> bytes:
    """Returns a JSON object as an encoded Struct."""
    parts: list[bytes] = []
    for name, value in fields.items():
        key, content = name.encode(), _encode_value(value)
        entry = b"".join((_KEY, encode_varint(len(key)), key, _VALUE, encode_varint(len(content)), content))
        parts += (_MAP_ENTRY, encode_varint(len(entry)), entry)
    return b"".join(parts)


def encode_varint(number: int) -> bytes:
    """Returns a number in protobuf's variable-length encoding."""
    if number < 128:
        return _ONE_BYTE[number]
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def _encode_value(value: Any) -> bytes:
    """Returns a JSON value as an encoded Value."""
    kind = value.__class__
    if kind is float or kind is int:
        return _pack_number(_NUMBER, value)
    if kind is str:
        text = value.encode()
        return b"".join((_STRING, encode_varint(len(text)), text))
    if kind is dict:
        content = encode_struct(value)
        return b"".join((_STRUCT, encode_varint(len(content)), content))
    if kind is list:
        entries = [part for item in map(_encode_value, value) for part in (_LIST_ENTRY, encode_varint(len(item)), item)]
        content = b"".join(entries)
        return b"".join((_LIST, encode_varint(len(content)), content))
    return _NULL if value is None else _TRUE if value else _FALSE


class _StructReader:
    """Reads one Struct into plain values, and gives up when it has too many of them."""

    def __init__(self) -> None:
        self._values_left = _MAX_METADATA_VALUES

    def read_struct(self, fields: struct_pb2.Struct, depth: int) -> dict[str, Any]:
        self._check(len(fields.fields), depth)
        return {name: self._read_value(value, depth) for name, value in fields.fields.items()}

    def _read_list(self, items: struct_pb2.ListValue, depth: int) -> list[Any]:
        self._check(len(items.values), depth)
        return [self._read_value(item, depth) for item in items.values]

    def _check(self, values: int, depth: int) -> None:
        if depth > MAX_METADATA_DEPTH:
            raise _metadata_too_deep()
        self._values_left -= values
        if self._values_left < 0:
            raise _metadata_too_large()

    def _read_value(self, value: struct_pb2.Value, depth: int) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "number_value":
            return _plain_number(value.number_value)
        if kind == "struct_value":
            return self.read_struct(value.struct_value, depth + 1)
        if kind == "list_value":
            return self._read_list(value.list_value, depth + 1)
        return None if kind in (None, "null_value") else getattr(value, kind)


def _plain_number(number: float) -> int | float:
    if number.is_integer() and -MAX_EXACT_INTEGER <= number <= MAX_EXACT_INTEGER and not _is_negative_zero(number):
        return int(number)
    if math.isfinite(number):
        return number
    sentence = "metadata has a number that JSON cannot represent: NaN or infinity"
    raise MailroomError(Reason.METADATA_INVALID, sentence, field="metadata")


def _is_negative_zero(number: float) -> bool:
    return number == 0.0 and math.copysign(1.0, number) < 0.0  # which no integer can say


def _metadata_too_deep() -> MailroomError:
    sentence = f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels: flatten it"
    return MailroomError(Reason.METADATA_TOO_DEEP, sentence, field="metadata")


def _metadata_too_large() -> MailroomError:
    sentence = f"metadata is larger than {MAX_METADATA_BYTES:,} bytes as JSON: send less, or send it as content"
    return MailroomError(Reason.METADATA_TOO_LARGE, sentence, field="metadata")
