"""Ids only grow, whatever the clock does, and sort alike as numbers and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailroomd.model.ids import COUNTER_BITS, COUNTER_MASK, MAX_ID, MS_SHIFT, IdSequence, format_id, parse_id

times_ms = st.integers(0, 4_000_000_000_000)
nodes = st.integers(0, 63)


@given(st.lists(times_ms, min_size=1, max_size=50), st.integers(0, MAX_ID // 2), nodes)
def test_ids_grow_whatever_the_clock_does(clock: list[int], last: int, node: int) -> None:
    ids = IdSequence(last, node)
    issued = [ids.issue(now_ms) for now_ms in clock]
    assert all(one < other for one, other in zip([last, *issued], issued, strict=False))
    assert ids.last == issued[-1]


@given(times_ms.filter(bool), nodes)
def test_a_new_id_contains_its_millisecond_and_node(now_ms: int, node: int) -> None:
    first_id = IdSequence(0, node).issue(now_ms)
    assert first_id >> MS_SHIFT == now_ms
    assert first_id >> COUNTER_BITS & 63 == node


@given(times_ms.filter(bool), nodes)
def test_an_exhausted_counter_borrows_from_the_next_millisecond(now_ms: int, node: int) -> None:
    ids = IdSequence(now_ms << MS_SHIFT | node << COUNTER_BITS | COUNTER_MASK, node)
    first_id = ids.issue(now_ms)
    assert first_id >> MS_SHIFT == now_ms + 1
    assert first_id >> COUNTER_BITS & 63 == node
    assert ids.issue(now_ms) == first_id + 1


@given(st.lists(st.tuples(times_ms.filter(bool), st.integers(1, COUNTER_MASK + 1)), min_size=1, max_size=50), nodes)
def test_ids_issued_together_are_consecutive_within_one_millisecond_and_node(
    requests: list[tuple[int, int]], node: int
) -> None:
    ids = IdSequence(0, node)
    last = 0
    for now_ms, count in requests:
        first = ids.issue(now_ms, count)
        assert first > last
        last = first + count - 1
        assert ids.last == last
        assert first >> MS_SHIFT == last >> MS_SHIFT >= now_ms
        assert first >> COUNTER_BITS == last >> COUNTER_BITS
        assert first >> COUNTER_BITS & 63 == node


@given(times_ms.filter(bool), st.integers(0, COUNTER_MASK), st.integers(1, COUNTER_MASK + 1))
def test_the_next_millisecond_is_used_only_if_this_one_has_no_room_for_all(now_ms: int, used: int, count: int) -> None:
    ids = IdSequence(now_ms << MS_SHIFT | used)
    has_room = used + count <= COUNTER_MASK
    behind, next_ms = (now_ms << MS_SHIFT | used) + 1, (now_ms + 1) << MS_SHIFT
    assert ids.issue(now_ms, count) == (behind if has_room else next_ms)


@given(st.integers(0, MAX_ID), st.integers(0, MAX_ID))
def test_text_and_number_are_equivalent_and_sort_alike(one: int, other: int) -> None:
    assert parse_id(format_id(one)) == one
    assert (format_id(one) < format_id(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "0",
            "00000000000000zz",
            "8000000000000000",
            "000000000000000A",
            " 00000000000000a",
            "000000000000000a\n",
        ),
        *("0x0000000000000a", "+00000000000000a", "00000000000000000", "0000000000000_1a", "０000000000000000"),
        "000000000000000a\n",
    ],
)
def test_text_that_is_not_an_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a message id"):
        parse_id(text)
