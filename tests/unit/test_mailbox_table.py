"""The mailbox table, case by case: visibility, states, eviction, slots, rebuilds, damage."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from mailroomd.model.states import DeliveryState
from mailroomd.table import ring
from mailroomd.table import writer as table_writer
from mailroomd.table.layout import BLOCK_BYTES, RECORD_BYTES, Header, TableLayout
from mailroomd.table.reader import MAX_DISTANCE, NotInTable, Record
from mailroomd.table.writer import TableFull
from support.harness.mailbox_table import RING_BYTES, Table


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table().rebuilt()
    yield made
    made.memory.close()


def ids(records: list[Record]) -> list[int]:
    return [record.id for record in records]


def test_a_table_that_was_never_filled_sends_readers_to_the_database() -> None:
    table = Table()
    for read in (
        lambda: table.reader.counts("a"),
        lambda: table.reader.after("a", 0, 1),
        lambda: table.reader.after_all(0, 1),
        lambda: table.reader.newest("a", 1),
        lambda: table.reader.unread("a", 1),
        lambda: table.reader.states_of([1]),
        lambda: list(table.reader.all_counts()),
    ):
        with pytest.raises(NotInTable):
            read()
    table.memory.close()


def test_the_layout_has_room_for_each_part_and_keeps_words_aligned() -> None:
    for ring_bytes, slots in ((1, 1), (BLOCK_BYTES, 7), (RING_BYTES, 1000), (1 << 20, 131_072), (8 << 20, 4095)):
        layout = TableLayout.for_ring(ring_bytes, slots)
        assert ring_bytes <= layout.ring_bytes < ring_bytes + BLOCK_BYTES
        assert layout.slots_offset >= layout.used_slots_offset + 4 * slots
        assert layout.slot_offset(slots) <= layout.blocks_offset
        assert layout.blocks_offset + 16 * layout.blocks == layout.ring_offset
        assert layout.ring_offset + layout.ring_bytes == layout.size_bytes
        offsets = (layout.slots_offset, layout.blocks_offset, layout.ring_offset, layout.size_bytes)
        assert not any(offset % 8 for offset in offsets)


def test_nothing_above_the_high_water_mark_is_visible(table: Table) -> None:
    table.store(1, "a", b"one")
    entry = table.writer.entry("a")
    position = table.writer.append(2, 20, entry, b"two", DeliveryState.FILED)
    entry.newest_position = position
    entry.publish()
    assert ids(table.reader.after("a", 0, 10)) == [1]
    assert ids(table.reader.after_all(0, 10)[0]) == [1]
    assert ids(table.reader.newest("a", 10)) == [1]
    assert table.reader.states_of([1, 2]) == {1: DeliveryState.FILED}
    table.writer.advance_high_water_mark(2)
    assert ids(table.reader.after("a", 0, 10)) == [1, 2]
    assert ids(table.reader.after_all(0, 10)[0]) == [1, 2]


def test_a_voided_record_is_skipped_and_its_neighbours_are_found(table: Table) -> None:
    table.store(1, "a")
    table.writer.set_state(
        table.writer.append(2, 20, table.writer.entry("a"), b"void", DeliveryState.FILED), DeliveryState.VOIDED
    )
    table.store(3, "a")
    assert ids(table.reader.after("a", 0, 10)) == [1, 3]
    assert ids(table.reader.after_all(0, 10)[0]) == [1, 3]
    assert ids(table.reader.newest("a", 2)) == [3, 1]
    assert not table.writer.advance_state(2, DeliveryState.READ)
    assert table.reader.states_of([1, 2, 3]) == dict.fromkeys([1, 3], DeliveryState.FILED)


def test_a_state_advances_even_above_the_high_water_mark(table: Table) -> None:
    """A mailbox worker that was stopped receives several outcomes of one message at once."""
    entry = table.writer.entry("a")
    position = table.writer.append(1, 10, entry, b"", DeliveryState.FILED)
    table.writer.set_state(position, DeliveryState.STORED)
    assert table.writer.advance_state(1, DeliveryState.FILED)
    table.publish(1, entry, position)
    assert table.reader.states_of([1]) == {1: DeliveryState.FILED}


def test_states_advance_whether_or_not_the_position_is_cached(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writer, "RECENT_IDS", 10)
    for number in range(1, 400):
        table.store(number, "a", bytes(300))
    gone = table.reader.evicted_through
    assert 0 < gone < 370
    for number in range(1, 400):
        assert table.writer.advance_state(number, DeliveryState.READ) == (number > gone)
        assert table.reader.states_of([number]) == ({number: DeliveryState.READ} if number > gone else {})
    assert table.reader.states_of(range(400)) == dict.fromkeys(range(gone + 1, 400), DeliveryState.READ)


def test_the_high_water_mark_never_goes_back(table: Table) -> None:
    table.store(5, "a")
    table.writer.advance_high_water_mark(3)
    assert table.reader.durable_id == 5


def test_a_ring_full_of_pending_records_accepts_more_once_they_are_durable(table: Table) -> None:
    entry = table.writer.entry("a")
    number = 0
    with suppress(TableFull):
        while number < RING_BYTES // 1000:
            table.writer.append(number + 1, 0, entry, bytes(1000), DeliveryState.FILED)
            number += 1
    assert RING_BYTES // (1000 + RECORD_BYTES + 16) - 1 <= number < RING_BYTES // 1000
    table.writer.advance_high_water_mark(1)
    table.writer.append(number + 1, 0, entry, bytes(1000), DeliveryState.FILED)
    assert table.reader.evicted_through == 1


def test_a_walk_is_bounded_and_a_longer_one_is_left_to_the_database() -> None:
    table = Table(1 << 20).rebuilt()
    steps = ring.MAX_STEPS
    for number in range(1, steps + 2):
        table.store(number, "a")
    assert ids(table.reader.after("a", 2, 3)) == [3, 4, 5]
    with pytest.raises(NotInTable):
        table.reader.after("a", 0, 3)
    assert ids(table.reader.after_all(0, 3)[0]) == [1, 2, 3]
    table.memory.close()


def test_every_id_is_found_through_the_block_index() -> None:
    table = Table(1 << 20).rebuilt()
    sizes = [0, 50, 400, BLOCK_BYTES - RECORD_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES, 200, 40 * BLOCK_BYTES, 8]
    for number in range(1, 500):
        table.store(number * 7, "a", bytes(sizes[number % len(sizes)]))
    kept = range(table.reader.evicted_through // 7 + 1, 500)
    assert len(kept) > 5
    for number in kept:
        assert table.reader.states_of([number * 7, number * 7 + 1]) == {number * 7: DeliveryState.FILED}
        assert table.reader.after_all(number * 7 - 3, 1)[0][0].id == number * 7
    table.memory.close()


@pytest.mark.parametrize("others", [0, 1, MAX_DISTANCE - 1, MAX_DISTANCE, MAX_DISTANCE + 1, 3 * MAX_DISTANCE])
def test_states_are_found_however_far_apart_their_records_are(others: int) -> None:
    table = Table(1 << 20).rebuilt()
    own = range(1, 40 * (others + 1), others + 1)
    for number in range(1, own[-1] + 1):
        table.store(number, "a" if number in own else "b")
    table.writer.advance_state(own[3], DeliveryState.READ)
    expected = dict.fromkeys(own, DeliveryState.FILED) | {own[3]: DeliveryState.READ}
    assert table.reader.states_of(own) == expected
    assert table.reader.states_of(own[::-7]) == {number: expected[number] for number in own[::-7]}
    table.memory.close()


def test_a_rebuild_in_the_middle_of_a_read_is_noticed(table: Table) -> None:
    table.store(1, "a")
    table.store(2, "b")
    listing = table.reader.all_counts()
    assert next(listing)[0] == "a"
    table.start_writer()
    table.rebuilt()
    with pytest.raises(NotInTable):
        next(listing)


def test_a_rebuild_invalidates_all_earlier_positions(table: Table) -> None:
    position = table.store(1, "a", b"old")
    _, behind = table.reader.after_all(0, 10)
    table.start_writer()
    table.rebuilt()
    with pytest.raises(NotInTable):
        table.reader.record_at(position)
    table.store(2, "a", b"new")
    assert ids(table.reader.after_all(1, 10, behind)[0]) == [2]


def test_only_mailboxes_without_a_slot_are_left_to_the_database(table: Table) -> None:
    for number in range(1, 20):
        table.store(number, f"m{number}")
    assert ids(table.reader.after("m1", 0, 10)) == [1]
    with pytest.raises(NotInTable):
        table.reader.after("m19", 0, 10)
    with pytest.raises(NotInTable):
        table.reader.counts("never seen")
    with pytest.raises(NotInTable):
        list(table.reader.all_counts())
    assert ids(table.reader.after_all(0, 50)[0]) == list(range(1, 20))


def test_the_absence_of_a_mailbox_is_certain_even_after_evictions(table: Table) -> None:
    for number in range(1, 200):
        table.store(number, "a", bytes(1000))
    assert table.reader.evicted_through
    assert table.reader.counts("b") is None
    assert table.reader.after("b", 0, 10) == table.reader.newest("b", 10) == table.reader.unread("b", 10) == []


def test_made_up_names_come_and_go_without_taking_anyones_slot() -> None:
    table = Table(slots=64).rebuilt()
    for number in range(1, 31):
        table.store(number, f"agent-{number}")
    for number in range(5000):
        entry = table.writer.entry(f"made-up-{number}")
        entry.last_seen_ms = number + 1
        entry.publish()
        table.writer.forget_idle(kept=8)
    assert not table.words[Header.OVERFLOWED]
    listed = dict(table.reader.all_counts())
    assert all(listed[f"agent-{number}"].total == 1 for number in range(1, 31))
    assert 8 <= len(listed) - 30 <= 16
    assert listed["made-up-4999"].last_seen_ms == 5000
    assert table.reader.counts("made-up-0") is None
    table.memory.close()


def test_names_that_are_only_written_to_leave_slots_for_agents_that_make_calls() -> None:
    table = Table(slots=64).rebuilt()
    for number in range(1, 201):
        table.store(number, f"made-up-{number}")
    table.store(201, "newcomer")
    with pytest.raises(NotInTable):
        table.reader.counts("newcomer")
    table.writer.record_seen(table.writer.entry("newcomer"), 7)
    counts = table.reader.counts("newcomer")
    assert counts is not None
    assert (counts.total, counts.unread, counts.last_seen_ms) == (1, 1, 7), "never shown without its mail"
    assert ids(table.reader.unread("newcomer", 10)) == [201]
    table.memory.close()


def test_a_writer_that_died_while_slots_moved_leaves_no_trace(table: Table) -> None:
    table.store(1, "a")
    table.words[Header.MOVES] += 1  # the first step of a move
    for read in (lambda: table.reader.counts("b"), lambda: list(table.reader.all_counts())):
        with pytest.raises(NotInTable):
            read()
    assert table.reader.counts("a")
    table.start_writer()
    table.rebuilt()
    assert table.reader.counts("b") is None
    assert list(table.reader.all_counts()) == []


def test_an_agent_without_mail_is_kept_while_anything_of_it_is_pending(table: Table) -> None:
    table.writer.entry("waits").pending = 1
    table.writer.entry("listens").subscribers = 1
    table.writer.entry("was answered").newest_response_id = 7
    table.store(1, "has mail")
    idle = table.writer.entry("looked in")
    assert table.writer.forget_idle(kept=0) == ["looked in"]
    table.writer.entry("came later")
    idle.last_seen_ms = 99
    idle.publish()  # by a holder of the forgotten entry: no other mailbox's counts change
    assert {name: counts.last_seen_ms for name, counts in table.reader.all_counts() if counts.last_seen_ms} == {}


def test_the_most_recently_seen_agents_are_kept(table: Table) -> None:
    for number in range(4):
        table.writer.entry(f"guest-{number}").last_seen_ms = number
    assert table.writer.forget_idle(kept=2) == ["guest-1", "guest-0"]


def test_damaged_bytes_are_never_returned_as_a_record(table: Table) -> None:
    position = table.store(1, "a", b"content")
    at = table.layout.ring_offset + position % table.layout.ring_bytes
    for offset in (0, 4, 8, 24, 32, 40, 50, RECORD_BYTES, RECORD_BYTES + 3):
        table.memory.buffer[at + offset] ^= 0x11
        with pytest.raises(NotInTable):
            table.reader.record_at(position)
        table.memory.buffer[at + offset] ^= 0x11
    assert table.reader.record_at(position).body == b"content"


def test_visible_ids_exclude_voided_pending_and_evicted_records(table: Table) -> None:
    for number in range(1, 4):
        table.store(number, "a")
    voided = table.writer.append(4, 40, table.writer.entry("a"), b"void", DeliveryState.FILED)
    table.writer.set_state(voided, DeliveryState.VOIDED)
    table.store(5, "b")
    table.writer.append(6, 60, table.writer.entry("b"), b"pending", DeliveryState.FILED)
    assert table.reader.visible_ids() == [1, 2, 3, 5]
    for number in range(7, 2000):
        table.store(number, "a", b"x" * 500)
    visible = table.reader.visible_ids()
    assert visible[0] > table.reader.evicted_through > 0
    assert visible == list(range(visible[0], 2000))
