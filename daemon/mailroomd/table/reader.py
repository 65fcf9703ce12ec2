"""TableReader — reads the mailbox table without ever waiting for its writer.

Owns nothing: any process may read at any time, also while the mailbox worker is busy, stopped or dead.
A read answers, or raises `NotInTable` where the table cannot answer for certain (rebuilding, evicted, too far back):
the caller reads the database then. Above: `MailReader`, which does so. Below: `TableLayout`.
Invariant: no torn record, no record above the durable mark and no struck one is ever returned.
"""

__all__ = ["NotInTable", "Record", "TableReader"]

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from mailroomd.memory.double_cell import DoubleCell, TornCell
from mailroomd.memory.fence import fence
from mailroomd.model.ids import MAX_ID
from mailroomd.model.page import READ_BYTES, Page
from mailroomd.model.states import DeliveryState
from mailroomd.table.layout import (
    BLOCK_BYTES,
    CHECKED_FROM,
    COUNTS,
    RECORD,
    RECORD_BYTES,
    SLOT_BYTES,
    SLOT_HEAD,
    STATE_OFFSET,
    VACANT,
    Header,
    MailboxCounts,
    RecordKind,
    TableLayout,
    name_hash,
    record_checksum,
)

MAX_STEPS = 1024  # records that one read may visit: bounds the time that it holds up the gateway's loop
FEW_UNREAD = 128  # up to here walking over all of them is quicker than asking the database
_LENGTH, _POSITION, _STATE, _ID, _PREVIOUS, _KIND = 0, 2, 3, 4, 5, 7  # in `RECORD`


class NotInTable(Exception):  # noqa: N818 - named for what was found
    """The table cannot answer this for certain; the database can."""


class Record(NamedTuple):
    """One whole record.

    Attributes:
        next_position: of the record behind it in the ring.
        previous: position of the record before it in its mailbox, 0 if the ring never had one.
        body: the packed draft.
    """

    id: int
    position: int
    next_position: int
    previous: int
    timestamp_ms: int
    state: DeliveryState
    kind: int
    mailbox: str
    body: bytes


def _is_listed(state: int, *, unread_only: bool) -> bool:
    return DeliveryState.STORED <= state <= (DeliveryState.OFFERED if unread_only else DeliveryState.EXPIRED)


def _is_any(_: int, __: DeliveryState) -> bool:
    return True


class TableReader:
    """Reads one table.

    Args:
        memory: the table's shared memory.
        layout: its layout.
    """

    def __init__(self, memory: memoryview, layout: TableLayout) -> None:
        self._memory = memory
        self._words = memory.cast("Q")
        self._layout = layout
        self._ring_offset = layout.ring_offset
        self._ring_bytes = layout.ring_bytes

    @property
    def durable_id(self) -> int:
        """The durable mark."""
        return self._words[Header.DURABLE_ID]

    @property
    def evicted_through(self) -> int:
        """Every record with an id up to this one may be missing in the table."""
        return self._words[Header.EVICTED_THROUGH]

    @property
    def is_rebuilding(self) -> bool:
        """Whether the table is being filled, or never was."""
        return self._words[Header.REBUILDING] == 1 or not self._words[Header.GENERATION]

    def counts(self, mailbox: str) -> MailboxCounts | None:
        """Returns how a mailbox stands; None if there is no such mailbox.

        Raises:
            NotInTable: it may exist nevertheless.
        """
        generation = self._begin()
        counts = self._counts(mailbox)
        self._require_same(generation)
        return counts

    def all_counts(self) -> Iterator[tuple[str, MailboxCounts]]:
        """Yields every mailbox and how it stands.

        Raises:
            NotInTable: the table does not know all of them, or not any more.
        """
        generation = self._begin()
        if self._words[Header.OVERFLOWED]:
            raise NotInTable
        moves = self._words[Header.MOVES]
        used = self._memory[self._layout.used_slots_offset :].cast("I")
        for index in range(self._words[Header.SLOTS_USED]):
            slot = used[index]
            name = self._name_in(slot)
            counts = self._counts_of(slot)
            self._require_same(generation)
            self._require_unmoved(moves)
            if name is not None:
                yield name.decode(), counts

    def after(self, mailbox: str, cursor: int, limit: int, budget_bytes: int = READ_BYTES) -> Page[Record]:
        """Returns a mailbox's records with ids above the cursor, oldest first, within both bounds.

        Raises:
            NotInTable: some of them may have left the table, or they are too many to look through.
        """
        generation, mark = self._begin(), self.durable_id
        fence()  # what the mark covers is seen from here on
        counts = self._counts(mailbox)
        wanted: deque[int] = deque(maxlen=limit)  # of what is added last, which is oldest
        if counts is not None:
            for position, number, state in self._backwards(counts.newest_position):
                if number <= cursor:
                    break
                if number <= mark and state != DeliveryState.VOIDED:
                    wanted.append(position)
            self._require_complete_above(cursor)
        return self._records(reversed(wanted), generation, limit, budget_bytes)

    def after_all(
        self, cursor: int, limit: int, position: int = 0, budget_bytes: int = READ_BYTES
    ) -> tuple[Page[Record], int]:
        """Returns records of every mailbox with ids above the cursor, oldest first, and where to go on.

        Args:
            position: the position that the last call returned, 0 for none.

        Raises:
            NotInTable: some of them may have left the table.
        """
        generation, mark = self._begin(), self.durable_id
        fence()
        self._require_complete_above(cursor)
        if position < self._words[Header.TAIL]:
            position = self._first_position_above(cursor)
        wanted: list[int] = []
        for start, behind, number, state in self._forwards(position):
            if number > mark:
                break
            position = behind
            if number > cursor and state != DeliveryState.VOIDED:
                wanted.append(start)
                if len(wanted) == limit:
                    break
        self._require_complete_above(cursor)
        found = self._records(wanted, generation, limit, budget_bytes)
        return found, found[-1].next_position if found.is_cut else position

    def newest(
        self,
        mailbox: str,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        below: int = MAX_ID,
        unread_only: bool = False,
    ) -> Page[Record]:
        """Returns the newest records of a mailbox with ids below a bound, newest first, within both limits.

        Raises:
            NotInTable: older ones that belong to them may have left the table.
        """
        generation, mark = self._begin(), min(self.durable_id, below - 1)
        fence()
        counts = self._counts(mailbox)
        wanted: list[int] = []
        if counts is not None and (counts.unread if unread_only else counts.total):
            oldest = counts.oldest_unread_id if unread_only else 0
            for position, number, state in self._backwards(counts.newest_position):
                if number < oldest:
                    break
                if number <= mark and _is_listed(state, unread_only=unread_only):
                    wanted.append(position)
                    if len(wanted) in (limit, counts.total):
                        break
            else:
                self._require_complete_above(max(0, oldest - 1))
        return self._records(wanted, generation, limit, budget_bytes)

    def unread(
        self,
        mailbox: str,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        newest_first: bool = False,
        is_wanted: Callable[[int, DeliveryState], bool] = _is_any,
    ) -> Page[Record]:
        """Returns the oldest unread records of a mailbox, oldest first, or the newest ones, newest first.

        Args:
            limit: of records.
            budget_bytes: of their bodies, beyond the first.
            newest_first: whether to begin with the newest.
            is_wanted: looks at id and state, before anything is copied.

        Raises:
            NotInTable: some of them may have left the table, or lie too far back.
        """
        generation, mark = self._begin(), self.durable_id
        fence()
        counts = self._counts(mailbox)
        wanted: deque[int] = deque(maxlen=None if newest_first else limit)
        if counts is not None and not newest_first and counts.unread > max(limit, FEW_UNREAD):
            raise NotInTable  # the oldest are at the far end of the walk; the database has an index of them
        if counts is not None and counts.unread:
            for position, number, state in self._backwards(counts.newest_position):
                if number < counts.oldest_unread_id:
                    break
                if (
                    number <= mark
                    and DeliveryState.STORED <= state <= DeliveryState.OFFERED
                    and is_wanted(number, DeliveryState(state))
                ):
                    wanted.append(position)
            self._require_complete_above(counts.oldest_unread_id - 1)
        first = islice(wanted, limit) if newest_first else reversed(wanted)
        return self._records(first, generation, limit, budget_bytes)

    def find(self, message_id: int) -> Record:
        """Returns the record with this id.

        Raises:
            NotInTable: it is not in the table, or not visible.
        """
        generation = self._begin()
        if message_id > self.durable_id:
            raise NotInTable
        record = self.record_at(self.position_of(message_id))
        self._require_same(generation)
        if record.state is DeliveryState.VOIDED:
            raise NotInTable
        return record

    def shown_ids(self) -> list[int]:
        """Returns the id of every visible record, in order; of those that leave the ring meanwhile perhaps not.

        Raises:
            NotInTable: the table is being filled.
        """
        generation, mark = self._begin(), self.durable_id
        fence()
        position = self._words[Header.TAIL]
        found: list[int] = []
        while True:
            try:
                for _, behind, number, state in self._forwards(position):
                    position = behind
                    if number <= mark and state != DeliveryState.VOIDED:
                        found.append(number)
                break
            except NotInTable:
                if self._words[Header.TAIL] <= position:
                    raise
                position = self._words[Header.TAIL]  # evictions have overtaken the walk
        self._require_same(generation)
        return found

    def position_of(self, message_id: int) -> int:
        """Returns where the record with this id lies, durable or not.

        Raises:
            NotInTable: it is not in the table.
        """
        if message_id <= self.evicted_through:
            raise NotInTable
        position = self._first_position_above(message_id - 1)
        head = self._head_at(position) if position < self._words[Header.HEAD] else None
        if head is None or head[_ID] != message_id:
            raise NotInTable
        return position

    def record_at(self, position: int) -> Record:
        """Returns the record at a position.

        Raises:
            NotInTable: there is no whole record of this position (any more).
        """
        head = self._head_at(position)
        if head is None:
            raise NotInTable
        length, crc, _, _, number, previous, timestamp_ms, kind, name_bytes, _ = head
        start = self._ring_offset + position % self._ring_bytes
        checked = bytes(self._memory[start + CHECKED_FROM : start + length])
        state = self._words[(start + STATE_OFFSET) >> 3]
        fence()
        if position < self._words[Header.TAIL] or crc != record_checksum(checked):
            raise NotInTable  # what lies above the tail was not overwritten while it was copied
        name_at = RECORD_BYTES - CHECKED_FROM
        body_at = name_at + name_bytes
        return Record(
            number,
            position,
            position + (length + 7 & ~7),
            previous,
            timestamp_ms,
            DeliveryState(state),
            kind,
            checked[name_at:body_at].decode(),
            checked[body_at:],
        )

    def find_slot(self, name: bytes) -> int | None:
        """Returns the slot of a mailbox, None if it has none."""
        slot = name_hash(name) % self._layout.slots
        for _ in range(self._layout.slots):
            length, held = SLOT_HEAD.unpack_from(self._memory, self._layout.slot_offset(slot))
            if not length:
                return None
            if length == len(name) and held[:length] == name:
                return slot
            slot = (slot + 1) % self._layout.slots
        return None

    # -- the frame of every read: a rebuild, or an eviction, in the middle of it -----------------------------------

    def _begin(self) -> int:
        """Returns the table's generation at the beginning of a read."""
        generation = self._words[Header.GENERATION]
        fence()
        if self.is_rebuilding:
            raise NotInTable
        return generation

    def _require_same(self, generation: int) -> None:
        """Passes if no rebuild came between."""
        fence()
        if self._words[Header.GENERATION] != generation:
            raise NotInTable

    def _require_unmoved(self, moves: int) -> None:
        """Passes if no mailbox changed its slot in between."""
        fence()
        if moves & 1 or self._words[Header.MOVES] != moves:
            raise NotInTable

    def _require_complete_above(self, cursor: int) -> None:
        """Passes if every record above the cursor was in the ring until now."""
        fence()
        if cursor < self.evicted_through:
            raise NotInTable

    def _records(self, positions: Iterable[int], generation: int, limit: int, budget_bytes: int) -> Page[Record]:
        found: Page[Record] = Page()
        for position in positions:
            if found and budget_bytes <= 0:
                found.cut()
                break
            found.append(self.record_at(position))
            budget_bytes -= len(found[-1].body)
        self._require_same(generation)
        return found.cut() if len(found) == limit else found

    # -- mailboxes and positions ----------------------------------------------------------------------------------

    def _counts(self, mailbox: str) -> MailboxCounts | None:
        name, moves = mailbox.encode(), self._words[Header.MOVES]
        slot = self.find_slot(name)
        if slot is not None:
            counts = self._counts_of(slot)
            fence()
            if self._name_in(slot) != name:  # it was forgotten just now, or has moved up
                raise NotInTable
            return counts
        self._require_unmoved(moves)
        if self._words[Header.OVERFLOWED]:
            raise NotInTable
        return None

    def _name_in(self, slot: int) -> bytes | None:
        """Returns the name that holds a slot, None if nobody does."""
        length, held = SLOT_HEAD.unpack_from(self._memory, self._layout.slot_offset(slot))
        return held[:length] if 0 < length < VACANT else None

    def _counts_of(self, slot: int) -> MailboxCounts:
        offset = self._layout.slot_offset(slot) + SLOT_HEAD.size
        try:
            payload = DoubleCell(self._memory, offset, COUNTS.size).read()
        except TornCell as error:
            raise NotInTable from error
        return MailboxCounts(*COUNTS.unpack(payload)) if payload else MailboxCounts()

    def _head_at(self, position: int) -> tuple[int, ...] | None:
        """Returns the fields of a record's head, which a walk can believe; None if the record has left the ring.

        Raises:
            NotInTable: no record starts here.
        """
        at = position % self._ring_bytes
        if at + RECORD_BYTES > self._ring_bytes:
            raise NotInTable
        head = RECORD.unpack_from(self._memory, self._ring_offset + at)
        fence()
        if position < self._words[Header.TAIL]:
            return None
        if head[_POSITION] != position or not RECORD_BYTES <= head[_LENGTH] <= self._ring_bytes - at:
            raise NotInTable
        return head

    def _backwards(self, position: int) -> Iterator[tuple[int, int, int]]:
        """Yields position, id and state of a mailbox's records, back to the first one that is still in the ring."""
        steps = 0
        while position and (head := self._head_at(position)) is not None:
            if steps == MAX_STEPS:
                raise NotInTable
            steps += 1
            yield position, head[_ID], head[_STATE]
            position = head[_PREVIOUS]

    def _forwards(self, position: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields position, position behind it, id and state of the ring's records, from a position on."""
        while position < self._words[Header.HEAD]:
            left = self._ring_bytes - position % self._ring_bytes
            if left < RECORD_BYTES:
                position += left
                continue
            head = self._head_at(position)
            if head is None:
                raise NotInTable
            behind = position + (head[_LENGTH] + 7 & ~7)
            if head[_KIND] != RecordKind.FILLER:
                yield position, behind, head[_ID], head[_STATE]
            position = behind

    def _first_position_above(self, cursor: int) -> int:
        """Returns the position of the first record with an id above the cursor, the ring's head if there is none."""
        tail, head = self._words[Header.TAIL], self._words[Header.HEAD]
        low, high = tail // BLOCK_BYTES, head // BLOCK_BYTES
        start = tail
        while low <= high:
            middle = (low + high) // 2
            block, entry = self._block_at_or_before(middle, low)
            if entry is None:
                low = middle + 1
            elif entry[1] <= cursor:
                start = max(start, entry[0])
                low = middle + 1
            else:
                high = block - 1
        for position, _, number, _ in self._forwards(start):
            if number > cursor:
                return position
        return head

    def _block_at_or_before(self, block: int, lowest: int) -> tuple[int, tuple[int, int] | None]:
        """Returns the nearest block, going back, in which a record starts, with that record's position and id."""
        tail = self._words[Header.TAIL]
        while block >= lowest:
            at = (self._layout.blocks_offset >> 3) + block % self._layout.blocks * 2
            position, number = self._words[at], self._words[at + 1]
            if position // BLOCK_BYTES == block and position >= tail and position:
                return block, (position, number)
            block -= 1
        return block, None


assert SLOT_BYTES % 8 == 0  # the state words and cells stay aligned
