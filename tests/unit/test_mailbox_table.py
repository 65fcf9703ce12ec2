"""The mailbox table answers exactly what a plain list would, or says that it does not know, which it rarely does."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mailroomd.memory.shared_memory import SharedMemory
from mailroomd.model.states import DeliveryState, may_become
from mailroomd.table import reader as table_reader
from mailroomd.table import writer as table_writer
from mailroomd.table.entry import MailboxEntry
from mailroomd.table.layout import BLOCK_BYTES, RECORD_BYTES, Header, TableLayout
from mailroomd.table.reader import NotInTable, Record, TableReader
from mailroomd.table.writer import TableFull, TableWriter

RING_BYTES = 64 << 10
SLOTS = 8  # of which seven are used: the eighth mailbox overflows
NAMES = [f"agent-{number}" for number in range(9)]
BUSY = NAMES[:2]  # drawn more often, so that some mailboxes have long lists
SIZES = st.sampled_from([0, 1, 7, 8, 100, 100, 300, 300, 1000, 3000, 9000, RING_BYTES // 2 - RECORD_BYTES - 16])

names = st.sampled_from(BUSY * 5 + NAMES)
limits = st.integers(1, 12)


@dataclass
class InboxFile:
    """A record as the model knows it."""

    id: int
    mailbox: str
    timestamp_ms: int
    body: bytes
    state: DeliveryState
    position: int


class Room:
    """A table in shared memory with its writer and a reader."""

    def __init__(self, ring_bytes: int = RING_BYTES, slots: int = SLOTS) -> None:
        self.layout = TableLayout.for_ring(ring_bytes, slots)
        self.memory = SharedMemory.create("table", self.layout.size_bytes)
        self.words = self.memory.buffer.cast("Q")
        self.reader = TableReader(self.memory.buffer, self.layout)
        self.start_writer()

    def start_writer(self) -> None:
        self.writer = TableWriter(self.memory.buffer, self.layout)

    def rebuilt(self) -> "Room":
        self.writer.begin_rebuild(0)
        self.writer.finish_rebuild(0)
        return self

    def store(self, number: int, name: str, body: bytes = b"", state: DeliveryState = DeliveryState.FILED) -> int:
        """Appends a message and makes it visible."""
        entry = self.writer.entry(name)
        position = self.writer.append(number, number * 10, entry, body, state)
        self.show(number, entry, position)
        return position

    def show(self, number: int, entry: MailboxEntry, position: int) -> None:
        entry.pending -= 1
        entry.total += 1
        entry.unread += 1
        entry.oldest_unread_id = entry.oldest_unread_id or number
        entry.newest_position = position
        entry.publish()
        self.writer.advance_high_water_mark(number)


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room().rebuilt()
    yield made
    made.memory.close()


def ids(records: list[Record]) -> list[int]:
    return [record.id for record in records]


class MailboxTableMachine(RuleBasedStateMachine):
    """The table beside a list of letters. The one class among the tests: hypothesis' state machines are classes."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room()
        self.letters: list[InboxFile] = []  # visible ones, oldest first
        self.struck: set[int] = set()
        self.pending: list[InboxFile] = []
        self.last_id = 0
        self.lost_through = 0  # what a rebuild left out
        self.rebuild(keep=0)

    def teardown(self) -> None:
        self.room.memory.close()

    # -- what the writer does -------------------------------------------------------------------------------------

    @rule(
        letters=st.lists(st.tuples(names, SIZES), min_size=3, max_size=25),
        struck=st.sets(st.integers(0, 19), max_size=3),
        settled=st.integers(0, 30),
    )
    def append_many(self, letters: list[tuple[str, int]], struck: set[int], settled: int) -> None:
        for name, size in letters:
            self.append(name, size, 1)
        if self.pending and settled:
            self.hear_outcomes(settled, struck)

    @rule(name=names, size=SIZES, gap=st.integers(1, 3))
    def append(self, name: str, size: int, gap: int) -> None:
        number = self.last_id + gap
        body = bytes([number % 251]) * size
        before = list(self.room.words[:8])
        entry = self.room.writer.entry(name)
        claimed = list(self.room.words[Header.SLOTS_USED : Header.OVERFLOWED + 1])
        try:
            position = self.room.writer.append(number, number * 3, entry, body, DeliveryState.FILED)
        except TableFull:
            assert self.pending, "the ring is full of durable records, which can be evicted"
            assert list(self.room.words[:8]) == [*before[:6], *claimed], "nothing changed"
            return
        self.last_id = number
        self.pending.append(InboxFile(number, name, number * 3, body, DeliveryState.FILED, position))

    @rule(name=names, leave=st.sampled_from([0, 8, RECORD_BYTES - 8, RECORD_BYTES, RECORD_BYTES + 8]))
    def append_up_to_the_end_of_the_ring(self, name: str, leave: int) -> None:
        left = RING_BYTES - self.room.words[Header.HEAD] % RING_BYTES
        size = left - leave - RECORD_BYTES - len(name)
        if 0 <= size <= RING_BYTES // 2 - RECORD_BYTES - len(name):
            self.append(name, size, 1)

    @precondition(lambda self: self.pending)
    @rule(count=st.integers(1, 20), struck=st.sets(st.integers(0, 19), max_size=3))
    def hear_outcomes(self, count: int, struck: set[int]) -> None:
        heard, self.pending = self.pending[:count], self.pending[count:]
        touched: set[str] = set()
        for index, letter in enumerate(heard):
            entry = self.room.writer.entry(letter.mailbox)
            entry.pending -= 1
            if index in struck:
                self.room.writer.set_state(letter.position, DeliveryState.VOIDED)
                self.struck.add(letter.id)
            else:
                self.letters.append(letter)
                entry.newest_position = letter.position
                touched.add(letter.mailbox)
        self.publish(touched)
        self.room.writer.advance_high_water_mark(self.pending[0].id - 1 if self.pending else self.last_id)

    @precondition(lambda self: self.letters)
    @rule(data=st.data(), state=st.sampled_from([DeliveryState.STORED, DeliveryState.OFFERED, DeliveryState.READ]))
    def advance(self, data: st.DataObject, state: DeliveryState) -> None:
        letter = data.draw(st.sampled_from(self.letters[-60:]))
        moved = self.room.writer.advance_state(letter.id, state)
        assert moved == (self.is_in_ring(letter) and may_become(letter.state, state))
        if may_become(letter.state, state):
            letter.state = state
        self.publish({letter.mailbox})

    @rule(guest=st.integers(0, 20), seen=st.integers(1, 99))
    def look_in(self, guest: int, seen: int) -> None:
        """Somebody asks for mail that there is none of."""
        entry = self.room.writer.entry(f"guest-{guest}")
        entry.last_seen_ms = seen
        entry.publish()

    @rule(kept=st.integers(0, 3))
    def forget_idle(self, kept: int) -> None:
        known = {name for name in NAMES if self.of(name)} | {one.mailbox for one in self.pending}
        assert not known.intersection(self.room.writer.forget_idle(kept))

    @rule(keep=st.integers(0, 40))
    def rebuild(self, keep: int) -> None:
        """The writer dies with what it had not settled, and a successor fills the table anew."""
        self.room.start_writer()
        self.pending.clear()
        kept = self.letters[-keep:] if keep else []
        while sum(len(one.body) + 200 for one in kept) > RING_BYTES // 2:
            kept.pop(0)
        left_out = self.letters[: len(self.letters) - len(kept)]
        self.lost_through = left_out[-1].id if left_out else 0
        self.room.writer.begin_rebuild(self.lost_through)
        for read in (lambda: self.room.reader.counts("a"), lambda: self.room.reader.after_all(0, 1)):
            with pytest.raises(NotInTable):
                read()
        for letter in kept:
            entry = self.room.writer.entry(letter.mailbox)
            letter.position = self.room.writer.append(letter.id, letter.timestamp_ms, entry, letter.body, letter.state)
        for letter in left_out:
            letter.position = 0
        self.publish({letter.mailbox for letter in self.letters})
        self.room.writer.finish_rebuild(self.last_id)

    def publish(self, touched: set[str]) -> None:
        for name in sorted(touched):
            entry = self.room.writer.entry(name)
            own = self.of(name)
            unread = [one.id for one in own if one.state.is_unread]
            entry.total, entry.unread, entry.oldest_unread_id = len(own), len(unread), unread[0] if unread else 0
            entry.publish()

    # -- what the model knows -------------------------------------------------------------------------------------

    def of(self, name: str) -> list[InboxFile]:
        return [one for one in self.letters if one.mailbox == name]

    def is_in_ring(self, letter: InboxFile) -> bool:
        return letter.position >= self.room.words[Header.TAIL]

    def evicted_through(self) -> int:
        return self.room.words[Header.EVICTED_THROUGH]

    def has_no_slot(self, name: str) -> bool:
        return self.room.words[Header.OVERFLOWED] == 1 and self.room.reader.find_slot(name.encode()) is None

    def compare(self, found: list[Record], expected: list[InboxFile]) -> None:
        assert [(one.id, one.mailbox, one.timestamp_ms, one.body, one.state) for one in found] == [
            (one.id, one.mailbox, one.timestamp_ms, one.body, one.state) for one in expected
        ]

    # -- what readers ask -----------------------------------------------------------------------------------------

    @rule(back=st.integers(0, 400), limit=limits)
    def read_everything(self, back: int, limit: int) -> None:
        cursor = max(0, self.last_id - back)
        for name in NAMES:
            self.read_after(name, cursor, limit)
            self.read_newest(name, limit)
            self.read_unread(name, limit)
        self.read_all_in_pages(cursor, limit)

    @invariant()
    def what_is_above_the_bound_can_be_read(self) -> None:
        for cursor in (0, self.evicted_through(), self.last_id - 5):
            self.read_after(BUSY[0], cursor, 4)
            self.read_all_in_pages(cursor, 9)
        self.read_newest(BUSY[0], 4)
        self.read_unread(BUSY[0], 4)

    def read_after(self, name: str, cursor: int, limit: int) -> None:
        expected = [one for one in self.of(name) if one.id > cursor]
        try:
            found = self.room.reader.after(name, cursor, limit)
        except NotInTable:
            assert cursor < self.evicted_through() or self.has_no_slot(name)
            return
        self.compare(found, expected[:limit])

    def read_all_in_pages(self, cursor: int, limit: int) -> None:
        expected = [one for one in self.letters if one.id > cursor]
        position, found = 0, list[Record]()
        try:
            while True:
                page, position = self.room.reader.after_all(cursor, limit, position)
                again, _ = self.room.reader.after_all(cursor, limit)
                assert page == again, "the hint changes nothing"
                found += page
                if len(page) < limit:
                    break
                cursor = page[-1].id
        except NotInTable:
            assert cursor < self.evicted_through()
            return
        self.compare(found, expected)

    def read_newest(self, name: str, limit: int) -> None:
        own = self.of(name)
        try:
            found = self.room.reader.newest(name, limit)
        except NotInTable:
            there = sum(self.is_in_ring(one) for one in own)
            assert there < min(limit, len(own)) or self.has_no_slot(name)
            return
        self.compare(found, own[::-1][:limit])

    def read_unread(self, name: str, limit: int) -> None:
        unread = [one for one in self.of(name) if one.state.is_unread]
        try:
            found = self.room.reader.unread(name, limit)
        except NotInTable:
            assert self.has_no_slot(name) or unread[0].id <= self.evicted_through()
            return
        self.compare(found, unread[:limit])

    @precondition(lambda self: self.last_id)
    @rule(data=st.data())
    def find_one(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(max(1, self.last_id - 150), self.last_id + 2))
        visible = [one for one in self.letters if one.id == number]
        try:
            found = self.room.reader.find(number)
        except NotInTable:
            assert not visible or number <= self.evicted_through()
            return
        self.compare([found], visible)

    @precondition(lambda self: self.letters or self.pending)
    @rule(data=st.data(), off=st.sampled_from([0, 0, 0, 8, -8, RING_BYTES, -RING_BYTES]))
    def look_at_a_position(self, data: st.DataObject, off: int) -> None:
        letter = data.draw(st.sampled_from([*self.letters[-60:], *self.pending]))
        try:
            found = self.room.reader.record_at(max(0, letter.position + off))
        except NotInTable:
            assert off or not self.is_in_ring(letter)
            return
        known = {one.id: one for one in [*self.letters, *self.pending]}
        if found.id not in self.struck:
            self.compare([found], [known[found.id]])

    @rule()
    def read_counts(self) -> None:
        for name in NAMES:
            own = self.of(name)
            with suppress(NotInTable):
                counts = self.room.reader.counts(name)
                unread = [one.id for one in own if one.state.is_unread]
                expected = (len(own), len(unread), unread[0] if unread else 0)
                assert (counts[:3] if counts else (0, 0, 0)) == expected
                continue
            assert self.has_no_slot(name)
        with suppress(NotInTable):
            totals = {name: counts.total for name, counts in self.room.reader.all_counts() if counts.total}
            assert totals == {name: len(self.of(name)) for name in NAMES if self.of(name)}
            return
        assert self.room.words[Header.OVERFLOWED]

    # -- what holds always ----------------------------------------------------------------------------------------

    @invariant()
    def only_durable_records_are_evicted_and_the_bound_is_the_highest_of_them(self) -> None:
        assert all(map(self.is_in_ring, self.pending))
        gone = [one.id for one in self.letters if not self.is_in_ring(one)]
        assert self.evicted_through() >= max(gone, default=0)
        assert self.evicted_through() <= max([*gone, *self.struck, self.lost_through])

    @invariant()
    def the_ring_is_never_overfull(self) -> None:
        assert 0 <= self.room.words[Header.HEAD] - self.room.words[Header.TAIL] <= RING_BYTES


test_the_table_answers_what_the_model_says_or_that_it_does_not_know = MailboxTableMachine.TestCase
MailboxTableMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_table_that_was_never_filled_sends_readers_to_the_database() -> None:
    room = Room()
    for read in (
        lambda: room.reader.counts("a"),
        lambda: room.reader.after("a", 0, 1),
        lambda: room.reader.after_all(0, 1),
        lambda: room.reader.newest("a", 1),
        lambda: room.reader.unread("a", 1),
        lambda: room.reader.find(1),
        lambda: list(room.reader.all_counts()),
    ):
        with pytest.raises(NotInTable):
            read()
    room.memory.close()


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


def test_nothing_above_the_mark_is_shown(room: Room) -> None:
    room.store(1, "a", b"one")
    entry = room.writer.entry("a")
    position = room.writer.append(2, 20, entry, b"two", DeliveryState.FILED)
    entry.newest_position = position
    entry.publish()
    assert ids(room.reader.after("a", 0, 10)) == [1]
    assert ids(room.reader.after_all(0, 10)[0]) == [1]
    assert ids(room.reader.newest("a", 10)) == [1]
    with pytest.raises(NotInTable):
        room.reader.find(2)
    room.writer.advance_high_water_mark(2)
    assert ids(room.reader.after("a", 0, 10)) == [1, 2]
    assert ids(room.reader.after_all(0, 10)[0]) == [1, 2]


def test_a_struck_record_is_passed_over_and_its_neighbours_are_found(room: Room) -> None:
    room.store(1, "a")
    room.writer.set_state(
        room.writer.append(2, 20, room.writer.entry("a"), b"void", DeliveryState.FILED), DeliveryState.VOIDED
    )
    room.store(3, "a")
    assert ids(room.reader.after("a", 0, 10)) == [1, 3]
    assert ids(room.reader.after_all(0, 10)[0]) == [1, 3]
    assert ids(room.reader.newest("a", 2)) == [3, 1]
    assert not room.writer.advance_state(2, DeliveryState.READ)
    with pytest.raises(NotInTable):
        room.reader.find(2)


def test_a_state_moves_also_before_the_mark_has_passed_the_message(room: Room) -> None:
    """A mailbox that was stopped hears that a file was written late, or taken, together with the first outcome."""
    entry = room.writer.entry("a")
    position = room.writer.append(1, 10, entry, b"", DeliveryState.FILED)
    room.writer.set_state(position, DeliveryState.STORED)
    assert room.writer.advance_state(1, DeliveryState.FILED)
    room.show(1, entry, position)
    assert room.reader.find(1).state is DeliveryState.FILED


def test_states_move_whether_or_not_their_position_is_at_hand(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writer, "RECENT_IDS", 10)
    for number in range(1, 400):
        room.store(number, "a", bytes(300))
    gone = room.reader.evicted_through
    assert 0 < gone < 370
    for number in range(1, 400):
        assert room.writer.advance_state(number, DeliveryState.READ) == (number > gone)
        assert number <= gone or room.reader.find(number).state is DeliveryState.READ


def test_the_mark_never_goes_back(room: Room) -> None:
    room.store(5, "a")
    room.writer.advance_high_water_mark(3)
    assert room.reader.durable_id == 5


def test_a_ring_that_is_full_of_pending_records_takes_no_more_until_they_are_durable(room: Room) -> None:
    entry = room.writer.entry("a")
    number = 0
    with suppress(TableFull):
        while number < RING_BYTES // 1000:
            room.writer.append(number + 1, 0, entry, bytes(1000), DeliveryState.FILED)
            number += 1
    assert RING_BYTES // (1000 + RECORD_BYTES + 16) - 1 <= number < RING_BYTES // 1000
    room.writer.advance_high_water_mark(1)
    room.writer.append(number + 1, 0, entry, bytes(1000), DeliveryState.FILED)
    assert room.reader.evicted_through == 1


def test_a_walk_is_bounded_and_a_longer_one_is_left_to_the_database() -> None:
    room = Room(1 << 20).rebuilt()
    steps = table_reader.MAX_STEPS
    for number in range(1, steps + 2):
        room.store(number, "a")
    assert ids(room.reader.after("a", 2, 3)) == [3, 4, 5]
    with pytest.raises(NotInTable):
        room.reader.after("a", 0, 3)
    assert ids(room.reader.after_all(0, 3)[0]) == [1, 2, 3]
    room.memory.close()


def test_every_id_is_found_through_the_block_index_among_records_of_all_sizes() -> None:
    room = Room(1 << 20).rebuilt()
    sizes = [0, 50, 400, BLOCK_BYTES - RECORD_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES, 200, 40 * BLOCK_BYTES, 8]
    for number in range(1, 500):
        room.store(number * 7, "a", bytes(sizes[number % len(sizes)]))
    kept = range(room.reader.evicted_through // 7 + 1, 500)
    assert len(kept) > 5
    for number in kept:
        assert room.reader.find(number * 7).id == number * 7
        assert room.reader.after_all(number * 7 - 3, 1)[0][0].id == number * 7
        with pytest.raises(NotInTable):
            room.reader.find(number * 7 + 1)
    room.memory.close()


def test_a_rebuild_in_the_middle_of_a_read_is_noticed(room: Room) -> None:
    room.store(1, "a")
    room.store(2, "b")
    listing = room.reader.all_counts()
    assert next(listing)[0] == "a"
    room.start_writer()
    room.rebuilt()
    with pytest.raises(NotInTable):
        next(listing)


def test_a_rebuild_voids_every_position_of_before(room: Room) -> None:
    position = room.store(1, "a", b"old")
    _, behind = room.reader.after_all(0, 10)
    room.start_writer()
    room.rebuilt()
    with pytest.raises(NotInTable):
        room.reader.record_at(position)
    room.store(2, "a", b"new")
    assert ids(room.reader.after_all(1, 10, behind)[0]) == [2]


def test_a_mailbox_without_a_slot_is_left_to_the_database_and_the_others_are_not(room: Room) -> None:
    for number in range(1, 20):
        room.store(number, f"m{number}")
    assert ids(room.reader.after("m1", 0, 10)) == [1]
    with pytest.raises(NotInTable):
        room.reader.after("m19", 0, 10)
    with pytest.raises(NotInTable):
        room.reader.counts("never seen")
    with pytest.raises(NotInTable):
        list(room.reader.all_counts())
    assert ids(room.reader.after_all(0, 50)[0]) == list(range(1, 20))


def test_a_mailbox_that_does_not_exist_is_known_not_to_after_evictions_too(room: Room) -> None:
    for number in range(1, 200):
        room.store(number, "a", bytes(1000))
    assert room.reader.evicted_through
    assert room.reader.counts("b") is None
    assert room.reader.after("b", 0, 10) == room.reader.newest("b", 10) == room.reader.unread("b", 10) == []


def test_names_that_are_made_up_pass_through_and_take_no_mailbox_its_slot() -> None:
    room = Room(slots=64).rebuilt()
    for number in range(1, 31):
        room.store(number, f"agent-{number}")
    for number in range(5000):
        entry = room.writer.entry(f"made-up-{number}")
        entry.last_seen_ms = number + 1
        entry.publish()
        room.writer.forget_idle(kept=8)
    assert not room.words[Header.OVERFLOWED]
    listed = dict(room.reader.all_counts())
    assert all(listed[f"agent-{number}"].total == 1 for number in range(1, 31))
    assert 8 <= len(listed) - 30 <= 16
    assert listed["made-up-4999"].last_seen_ms == 5000
    assert room.reader.counts("made-up-0") is None
    room.memory.close()


def test_a_writer_that_died_while_mailboxes_moved_leaves_no_trace(room: Room) -> None:
    room.store(1, "a")
    room.words[Header.MOVES] += 1  # what it does first
    for read in (lambda: room.reader.counts("b"), lambda: list(room.reader.all_counts())):
        with pytest.raises(NotInTable):
            read()
    assert room.reader.counts("a")
    room.start_writer()
    room.rebuilt()
    assert room.reader.counts("b") is None
    assert list(room.reader.all_counts()) == []


def test_an_agent_without_mail_is_not_forgotten_while_anything_of_it_is_pending(room: Room) -> None:
    room.writer.entry("waits").pending = 1
    room.writer.entry("listens").subscribers = 1
    room.writer.entry("was answered").newest_response_id = 7
    room.store(1, "has mail")
    idle = room.writer.entry("looked in")
    assert room.writer.forget_idle(kept=0) == ["looked in"]
    room.writer.entry("came later")
    idle.last_seen_ms = 99
    idle.publish()  # by somebody who still has it: nobody else's counts change
    assert {name: counts.last_seen_ms for name, counts in room.reader.all_counts() if counts.last_seen_ms} == {}


def test_those_that_were_here_last_stay(room: Room) -> None:
    for number in range(4):
        room.writer.entry(f"guest-{number}").last_seen_ms = number
    assert room.writer.forget_idle(kept=2) == ["guest-1", "guest-0"]


def test_damaged_bytes_are_never_taken_for_a_record(room: Room) -> None:
    position = room.store(1, "a", b"content")
    at = room.layout.ring_offset + position % room.layout.ring_bytes
    for offset in (0, 4, 8, 24, 32, 40, 50, RECORD_BYTES, RECORD_BYTES + 3):
        room.memory.buffer[at + offset] ^= 0x11
        with pytest.raises(NotInTable):
            room.reader.record_at(position)
        room.memory.buffer[at + offset] ^= 0x11
    assert room.reader.record_at(position).body == b"content"


def test_what_is_shown_is_listed_without_what_is_struck_pending_or_evicted(room: Room) -> None:
    for number in range(1, 4):
        room.store(number, "a")
    struck = room.writer.append(4, 40, room.writer.entry("a"), b"void", DeliveryState.FILED)
    room.writer.set_state(struck, DeliveryState.VOIDED)
    room.store(5, "b")
    room.writer.append(6, 60, room.writer.entry("b"), b"pending", DeliveryState.FILED)
    assert room.reader.shown_ids() == [1, 2, 3, 5]
    for number in range(7, 2000):
        room.store(number, "a", b"x" * 500)
    shown = room.reader.shown_ids()
    assert shown[0] > room.reader.evicted_through > 0
    assert shown == list(range(shown[0], 2000))
