"""The mailbox table answers exactly as a plain list would, or says that it cannot, which is rare."""

from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mailroomd.model.states import DeliveryState, may_become
from mailroomd.table.layout import RECORD_BYTES, Header
from mailroomd.table.reader import NotInTable, Record
from mailroomd.table.writer import TableFull
from support.harness.mailbox_table import RING_BYTES, Table

pytestmark = pytest.mark.slow

NAMES = [f"agent-{number}" for number in range(9)]
BUSY = NAMES[:2]  # drawn more often, so that some mailboxes have long lists
SIZES = st.sampled_from([0, 1, 7, 8, 100, 100, 300, 300, 1000, 3000, 9000, RING_BYTES // 2 - RECORD_BYTES - 16])

names = st.sampled_from(BUSY * 5 + NAMES)
limits = st.integers(1, 12)


@dataclass
class Mail:
    """A message as the model knows it."""

    id: int
    mailbox: str
    timestamp_ms: int
    body: bytes
    state: DeliveryState
    position: int


class MailboxTableMachine(RuleBasedStateMachine):
    """The table beside a list of messages. The only test class: hypothesis' state machines are classes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.messages: list[Mail] = []  # visible ones, oldest first
        self.voided: set[int] = set()
        self.pending: list[Mail] = []
        self.last_id = 0
        self.lost_through = 0  # what a rebuild left out
        self.rebuild(keep=0)

    def teardown(self) -> None:
        self.table.memory.close()

    # -- what the writer does -------------------------------------------------------------------------------------

    @rule(
        mail=st.lists(st.tuples(names, SIZES), min_size=3, max_size=25),
        voided=st.sets(st.integers(0, 19), max_size=3),
        resolved=st.integers(0, 30),
    )
    def append_many(self, mail: list[tuple[str, int]], voided: set[int], resolved: int) -> None:
        for name, size in mail:
            self.append(name, size, 1)
        if self.pending and resolved:
            self.receive_outcomes(resolved, voided)

    @rule(name=names, size=SIZES, gap=st.integers(1, 3))
    def append(self, name: str, size: int, gap: int) -> None:
        message_id = self.last_id + gap
        body = bytes([message_id % 251]) * size
        before = list(self.table.words[:8])
        entry = self.table.writer.entry(name)
        claimed = list(self.table.words[Header.SLOTS_USED : Header.OVERFLOWED + 1])
        try:
            position = self.table.writer.append(message_id, message_id * 3, entry, body, DeliveryState.FILED)
        except TableFull:
            assert self.pending, "the ring is full of durable records, which can be evicted"
            assert list(self.table.words[:8]) == [*before[:6], *claimed], "nothing changed"
            return
        self.last_id = message_id
        self.pending.append(Mail(message_id, name, message_id * 3, body, DeliveryState.FILED, position))

    @rule(name=names, leave=st.sampled_from([0, 8, RECORD_BYTES - 8, RECORD_BYTES, RECORD_BYTES + 8]))
    def append_up_to_the_end_of_the_ring(self, name: str, leave: int) -> None:
        left = RING_BYTES - self.table.words[Header.HEAD] % RING_BYTES
        size = left - leave - RECORD_BYTES - len(name)
        if 0 <= size <= RING_BYTES // 2 - RECORD_BYTES - len(name):
            self.append(name, size, 1)

    @precondition(lambda self: self.pending)
    @rule(count=st.integers(1, 20), voided=st.sets(st.integers(0, 19), max_size=3))
    def receive_outcomes(self, count: int, voided: set[int]) -> None:
        resolved, self.pending = self.pending[:count], self.pending[count:]
        changed: set[str] = set()
        for index, message in enumerate(resolved):
            entry = self.table.writer.entry(message.mailbox)
            entry.pending -= 1
            if index in voided:
                self.table.writer.set_state(message.position, DeliveryState.VOIDED)
                self.voided.add(message.id)
            else:
                self.messages.append(message)
                entry.newest_position = message.position
                changed.add(message.mailbox)
        self.publish(changed)
        self.table.writer.advance_high_water_mark(self.pending[0].id - 1 if self.pending else self.last_id)

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), state=st.sampled_from([DeliveryState.STORED, DeliveryState.OFFERED, DeliveryState.READ]))
    def advance(self, data: st.DataObject, state: DeliveryState) -> None:
        message = data.draw(st.sampled_from(self.messages[-60:]))
        moved = self.table.writer.advance_state(message.id, state)
        assert moved == (self.is_in_ring(message) and may_become(message.state, state))
        if may_become(message.state, state):
            message.state = state
        self.publish({message.mailbox})

    @rule(guest=st.integers(0, 20), seen=st.integers(1, 99))
    def visit(self, guest: int, seen: int) -> None:
        """An agent without mail checks its inbox."""
        entry = self.table.writer.entry(f"guest-{guest}")
        entry.last_seen_ms = seen
        entry.publish()

    @rule(kept=st.integers(0, 3))
    def forget_idle(self, kept: int) -> None:
        known = {name for name in NAMES if self.of(name)} | {message.mailbox for message in self.pending}
        assert not known.intersection(self.table.writer.forget_idle(kept))

    @rule(keep=st.integers(0, 40))
    def rebuild(self, keep: int) -> None:
        """The writer dies with everything pending, and a successor fills the table again."""
        self.table.start_writer()
        self.pending.clear()
        kept = self.messages[-keep:] if keep else []
        while sum(len(message.body) + 200 for message in kept) > RING_BYTES // 2:
            kept.pop(0)
        left_out = self.messages[: len(self.messages) - len(kept)]
        self.lost_through = left_out[-1].id if left_out else 0
        self.table.writer.begin_rebuild(self.lost_through)
        for read in (lambda: self.table.reader.counts("a"), lambda: self.table.reader.after_all(0, 1)):
            with pytest.raises(NotInTable):
                read()
        for message in kept:
            entry = self.table.writer.entry(message.mailbox)
            message.position = self.table.writer.append(
                message.id, message.timestamp_ms, entry, message.body, message.state
            )
        for message in left_out:
            message.position = 0
        self.publish({message.mailbox for message in self.messages})
        self.table.writer.finish_rebuild(self.last_id)

    def publish(self, changed: set[str]) -> None:
        for name in sorted(changed):
            entry = self.table.writer.entry(name)
            own = self.of(name)
            unread = [message.id for message in own if message.state.is_unread]
            entry.total, entry.unread, entry.oldest_unread_id = len(own), len(unread), unread[0] if unread else 0
            entry.publish()

    # -- what the model knows -------------------------------------------------------------------------------------

    def of(self, name: str) -> list[Mail]:
        return [message for message in self.messages if message.mailbox == name]

    def is_in_ring(self, message: Mail) -> bool:
        return message.position >= self.table.words[Header.TAIL]

    def evicted_through(self) -> int:
        return self.table.words[Header.EVICTED_THROUGH]

    def has_no_slot(self, name: str) -> bool:
        return self.table.words[Header.OVERFLOWED] == 1 and self.table.slots.find_slot(name.encode()) is None

    def compare(self, records: list[Record], expected: list[Mail]) -> None:
        assert [
            (message.id, message.mailbox, message.timestamp_ms, message.body, message.state) for message in records
        ] == [(message.id, message.mailbox, message.timestamp_ms, message.body, message.state) for message in expected]

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
    def everything_above_the_eviction_bound_can_be_read(self) -> None:
        for cursor in (0, self.evicted_through(), self.last_id - 5):
            self.read_after(BUSY[0], cursor, 4)
            self.read_all_in_pages(cursor, 9)
        self.read_newest(BUSY[0], 4)
        self.read_unread(BUSY[0], 4)

    def read_after(self, name: str, cursor: int, limit: int) -> None:
        expected = [message for message in self.of(name) if message.id > cursor]
        try:
            records = self.table.reader.after(name, cursor, limit)
        except NotInTable:
            assert cursor < self.evicted_through() or self.has_no_slot(name)
            return
        self.compare(records, expected[:limit])

    def read_all_in_pages(self, cursor: int, limit: int) -> None:
        expected = [message for message in self.messages if message.id > cursor]
        position, records = 0, list[Record]()
        try:
            while True:
                page, position = self.table.reader.after_all(cursor, limit, position)
                again, _ = self.table.reader.after_all(cursor, limit)
                assert page == again, "the position is only a hint"
                records += page
                if len(page) < limit:
                    break
                cursor = page[-1].id
        except NotInTable:
            assert cursor < self.evicted_through()
            return
        self.compare(records, expected)

    def read_newest(self, name: str, limit: int) -> None:
        own = self.of(name)
        try:
            records = self.table.reader.newest(name, limit)
        except NotInTable:
            there = sum(self.is_in_ring(message) for message in own)
            assert there < min(limit, len(own)) or self.has_no_slot(name)
            return
        self.compare(records, own[::-1][:limit])

    def read_unread(self, name: str, limit: int) -> None:
        unread = [message for message in self.of(name) if message.state.is_unread]
        try:
            records = self.table.reader.unread(name, limit)
        except NotInTable:
            assert self.has_no_slot(name) or unread[0].id <= self.evicted_through()
            return
        self.compare(records, unread[:limit])

    @precondition(lambda self: self.last_id)
    @rule(data=st.data())
    def read_states(self, data: st.DataObject) -> None:
        asked = data.draw(st.sets(st.integers(max(1, self.last_id - 150), self.last_id + 2)))
        visible = [message for message in self.messages if message.id in asked and message.id > self.evicted_through()]
        assert self.table.reader.states_of(asked) == {message.id: message.state for message in visible}

    @precondition(lambda self: self.messages or self.pending)
    @rule(data=st.data(), off=st.sampled_from([0, 0, 0, 8, -8, RING_BYTES, -RING_BYTES]))
    def read_at_a_position(self, data: st.DataObject, off: int) -> None:
        message = data.draw(st.sampled_from([*self.messages[-60:], *self.pending]))
        try:
            record = self.table.reader.record_at(max(0, message.position + off))
        except NotInTable:
            assert off or not self.is_in_ring(message)
            return
        known = {message.id: message for message in [*self.messages, *self.pending]}
        if record.id not in self.voided:
            self.compare([record], [known[record.id]])

    @rule()
    def read_counts(self) -> None:
        for name in NAMES:
            own = self.of(name)
            with suppress(NotInTable):
                counts = self.table.reader.counts(name)
                unread = [message.id for message in own if message.state.is_unread]
                expected = (len(own), len(unread), unread[0] if unread else 0)
                assert (counts[:3] if counts else (0, 0, 0)) == expected
                continue
            assert self.has_no_slot(name)
        with suppress(NotInTable):
            totals = {name: counts.total for name, counts in self.table.reader.all_counts() if counts.total}
            assert totals == {name: len(self.of(name)) for name in NAMES if self.of(name)}
            return
        assert self.table.words[Header.OVERFLOWED]

    # -- what holds always ----------------------------------------------------------------------------------------

    @invariant()
    def only_durable_records_are_evicted_and_the_bound_is_the_highest_of_them(self) -> None:
        assert all(map(self.is_in_ring, self.pending))
        gone = [message.id for message in self.messages if not self.is_in_ring(message)]
        assert self.evicted_through() >= max(gone, default=0)
        assert self.evicted_through() <= max([*gone, *self.voided, self.lost_through])

    @invariant()
    def the_ring_is_never_overfull(self) -> None:
        assert 0 <= self.table.words[Header.HEAD] - self.table.words[Header.TAIL] <= RING_BYTES


test_the_table_answers_as_the_model_or_says_that_it_cannot = MailboxTableMachine.TestCase
MailboxTableMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
