"""Metadata — validates a message's JSON metadata and converts it to a protobuf Struct and back.

A Struct stores every number as a double, and protobuf parsers limit the depth. Metadata that would not arrive unchanged
is rejected here, before it is sent.
"""

__all__ = ["metadata_from_struct", "struct_from_metadata"]

import math
from collections.abc import Mapping
from typing import Any, cast

from google.protobuf import struct_pb2

from mailroom.errors import InvalidArgument

MAX_DEPTH = 32  # levels, counting the object itself; the contract's limit
MAX_EXACT_INT = 1 << 53  # beyond it a double skips integers


def struct_from_metadata(metadata: Mapping[str, Any]) -> struct_pb2.Struct:
    """Returns the metadata as a Struct.

    Raises:
        InvalidArgument: METADATA_INVALID or METADATA_TOO_DEEP.
    """
    _check(metadata, 1)
    struct = struct_pb2.Struct()
    struct.update(metadata)
    return struct


def metadata_from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Returns a Struct as plain values; whole numbers become ints."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _check(value: object, depth: int) -> None:
    if isinstance(value, Mapping | list | tuple):
        if depth > MAX_DEPTH:
            raise _invalid(f"is nested deeper than {MAX_DEPTH} levels", reason="METADATA_TOO_DEEP")
        _check_items(cast("Mapping[object, object] | list[object]", value), depth)
    elif isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int | float):
        _check_number(value)
    elif value is not None:
        raise _invalid(f"contains a {type(value).__name__}, which JSON does not support")


def _check_items(value: Mapping[object, object] | list[object], depth: int) -> None:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _invalid(f"has the key {key!r}, but keys must be strings")
            _check_text(key)
    for item in value.values() if isinstance(value, Mapping) else value:
        _check(item, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _invalid("contains text that is not valid Unicode") from error


def _check_number(number: float) -> None:
    if isinstance(number, int) and abs(number) > MAX_EXACT_INT:
        raise _invalid(f"contains {number}, which would be rounded; send it as a string")
    if not math.isfinite(number):
        raise _invalid(f"contains {number}, which JSON does not support")


def _invalid(problem: str, reason: str = "METADATA_INVALID") -> InvalidArgument:
    return InvalidArgument(f"metadata {problem}", reason=reason, field="metadata")


def _plain(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return metadata_from_struct(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None
