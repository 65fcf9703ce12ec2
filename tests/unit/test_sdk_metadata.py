"""Metadata arrives unchanged, or is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailroom.errors import InvalidArgument
from mailroom.metadata import MAX_EXACT_INT, metadata_from_struct, struct_from_metadata

pytestmark = pytest.mark.slow

INTEGERS = st.integers(-MAX_EXACT_INT, MAX_EXACT_INT)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | INTEGERS | FLOATS | st.text()
OBJECTS = st.dictionaries(
    st.text(), st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"inner": value}
    return value


@settings(max_examples=50)
@given(OBJECTS)
def test_a_json_object_comes_back_equal(metadata: dict[str, Any]) -> None:
    assert metadata_from_struct(struct_from_metadata(metadata)) == metadata


def test_whole_numbers_come_back_as_ints() -> None:
    assert repr(metadata_from_struct(struct_from_metadata({"n": 3, "f": 0.5}))["n"]) == "3"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (nested(33), "METADATA_TOO_DEEP"),
        ({"n": MAX_EXACT_INT + 1}, "METADATA_INVALID"),
        ({"n": float("inf")}, "METADATA_INVALID"),
        ({"n": object()}, "METADATA_INVALID"),
        ({7: "x"}, "METADATA_INVALID"),
        ({"n": ["\ud800"]}, "METADATA_INVALID"),
    ],
)
def test_metadata_that_would_not_arrive_unchanged_is_refused(metadata: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        struct_from_metadata(metadata)
    assert (caught.value.reason, caught.value.field) == (reason, "metadata")


def test_the_deepest_allowed_object_passes() -> None:
    assert metadata_from_struct(struct_from_metadata(nested(32))) == nested(32)
