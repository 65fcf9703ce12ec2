"""Ids only grow, whatever the clock does, and are the same as numbers and as text."""

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
def test_a_fresh_id_says_its_millisecond_and_its_node(now_ms: int, node: int) -> None:
    number = IdSequence(0, node).issue(now_ms)
    assert number >> MS_SHIFT == now_ms
    assert number >> COUNTER_BITS & 63 == node


@given(times_ms.filter(bool), nodes)
def test_a_used_up_counter_borrows_from_the_next_millisecond_and_keeps_the_node(now_ms: int, node: int) -> None:
    ids = IdSequence(now_ms << MS_SHIFT | node << COUNTER_BITS | COUNTER_MASK, node)
    number = ids.issue(now_ms)
    assert number >> MS_SHIFT == now_ms + 1
    assert number >> COUNTER_BITS & 63 == node
    assert ids.issue(now_ms) == number + 1


@given(st.lists(st.tuples(times_ms.filter(bool), st.integers(1, COUNTER_MASK + 1)), min_size=1, max_size=50), nodes)
def test_numbers_that_are_issued_together_follow_each_other_within_one_millisecond_and_node(
    asked: list[tuple[int, int]], node: int
) -> None:
    ids = IdSequence(0, node)
    last = 0
    for now_ms, count in asked:
        first = ids.issue(now_ms, count)
        assert first > last
        last = first + count - 1
        assert ids.last == last
        assert first >> MS_SHIFT == last >> MS_SHIFT >= now_ms
        assert first >> COUNTER_BITS == last >> COUNTER_BITS
        assert first >> COUNTER_BITS & 63 == node


@given(times_ms.filter(bool), st.integers(0, COUNTER_MASK), st.integers(1, COUNTER_MASK + 1))
def test_a_millisecond_is_left_only_where_it_has_no_room_for_all(now_ms: int, used: int, count: int) -> None:
    ids = IdSequence(now_ms << MS_SHIFT | used)
    has_room = used + count <= COUNTER_MASK
    behind, next_ms = (now_ms << MS_SHIFT | used) + 1, (now_ms + 1) << MS_SHIFT
    assert ids.issue(now_ms, count) == (behind if has_room else next_ms)


@given(st.integers(0, MAX_ID), st.integers(0, MAX_ID))
def test_text_and_number_say_the_same_and_sort_alike(one: int, other: int) -> None:
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
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        parse_id(text)
