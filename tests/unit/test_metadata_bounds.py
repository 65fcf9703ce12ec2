"""Metadata is refused before it is converted if it is certainly too large, and never if it is lawful."""

from typing import Any

import pytest
from google.protobuf import struct_pb2
from mailroomd.gateway.structs import metadata_to_json
from mailroomd.model.errors import MailroomError, Reason
from mailroomd.model.limits import MAX_METADATA_BYTES


def list_of(value: Any, count: int) -> bytes:
    metadata = struct_pb2.Struct()
    metadata["a"] = [value] * count
    return metadata.SerializeToString()


@pytest.mark.parametrize("value", [1, 1.5, None, True, "", {}, []], ids=repr)
def test_the_largest_lawful_metadata_of_each_type_passes(value: object) -> None:
    one = len(metadata_to_json(list_of(value, 2))) - len(metadata_to_json(list_of(value, 1)))
    count = (MAX_METADATA_BYTES - len(b'{"a":[]}')) // one
    assert MAX_METADATA_BYTES - 8 < len(metadata_to_json(list_of(value, count))) <= MAX_METADATA_BYTES


@pytest.mark.parametrize("metadata", [list_of(None, 40_000), list_of("x" * 1000, 500)], ids=["values", "bytes"])
def test_metadata_that_is_certainly_too_large_is_refused(metadata: bytes) -> None:
    with pytest.raises(MailroomError) as refused:
        metadata_to_json(metadata)
    assert (refused.value.reason, refused.value.field) == (Reason.METADATA_TOO_LARGE, "metadata")


@pytest.mark.parametrize(
    ("number", "written"),
    [(0.0, b"0"), (-0.0, b"-0.0"), (2.0**53, b"9007199254740992"), (-17.0, b"-17"), (0.5, b"0.5")],
)
def test_a_number_keeps_its_value_and_its_sign(number: float, written: bytes) -> None:
    assert metadata_to_json(list_of(number, 1)) == b'{"a":[' + written + b"]}"
