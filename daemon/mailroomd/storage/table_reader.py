"""TableReader — reads the mailbox table without ever waiting for its writer.

Owns nothing: any process may read at any time, also while the mailbox worker is busy, stopped or dead.
A read answers, or raises `NotInTable` where the table cannot answer for certain (rebuilding, evicted, too far back):
the caller reads the database then. Above: `MailReader`, which does so. Below: `TableLayout`.
Invariant: no torn record, no record above the durable mark and no struck one is ever returned.
"""

__all__ = ["NotInTable", "Record", "TableReader"]

from collections.abc import Iterator
from typing import NamedTuple

from mailroomd.memory.double_cell import DoubleCell, TornCell
from mailroomd.memory.fence import fence
from mailroomd.model.states import DeliveryState
from mailroomd.storage.table_layout import (
    BLOCK_BYTES,
    CHECKED_FROM,
    COUNTS,
    RECORD,
    RECORD_BYTES,
    SLOT_BYTES,
    SLOT_HEAD,
    STATE_OFFSET,
    Header,
    MailboxCounts,
    RecordKind,
    TableLayout,
    name_hash,
    record_checksum,
)

MAX_STEPS = 1024  # records that one read may visit: bounds the time that it holds up the gateway's loop


class NotInTable(Exception):
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
        """Whether the table is being filled."""
        return self._words[Header.REBUILDING] == 1

    @property
    def fill(self) -> tuple[int, int]:
        """Bytes of the ring that are in use, and mailboxes."""
        return self._words[Header.HEAD] - self._words[Header.TAIL], self._words[Header.SLOTS_USED]

    def counts(self, mailbox: str) -> MailboxCounts | None:
        """Returns how a mailbox stands; None if there is no such mailbox.

        Raises:
            NotInTable: it may exist nevertheless.
        """
        if self.is_rebuilding:
            raise NotInTable
        slot = self.find_slot(mailbox.encode())
        if slot is not None:
            return self._counts_of(slot)
        if self._words[Header.OVERFLOWED] or self.is_rebuilding:
            raise NotInTable
        return None

    def all_counts(self) -> Iterator[tuple[str, MailboxCounts]]:
        """Yields every mailbox and how it stands.

        Raises:
            NotInTable: the table does not know all of them.
        """
        if self.is_rebuilding or self._words[Header.OVERFLOWED]:
            raise NotInTable
        generation = self._words[Header.GENERATION]
        used = self._memory[self._layout.used_slots_offset :].cast("I")
        for index in range(self._words[Header.SLOTS_USED]):
            slot = used[index]
            length, name = SLOT_HEAD.unpack_from(self._memory, self._layout.slot_offset(slot))
            if self._words[Header.GENERATION] != generation:
                raise NotInTable
            yield name[:length].decode(), self._counts_of(slot)

    def after(self, mailbox: str, cursor: int, limit: int) -> list[Record]:
        """Returns a mailbox's records with ids above the cursor, oldest first, `limit` at most.

        Raises:
            NotInTable: some of them may have left the table.
        """
        mark = self.durable_id
        counts = self.counts(mailbox)
        found: list[Record] = []
        if counts is not None:
            for record in self._backwards(counts.newest_position):
                if record.id <= cursor:
                    break
                if record.id <= mark and record.state is not DeliveryState.STRUCK:
                    found.append(record)
        self._require_complete_above(cursor)
        return found[: -limit - 1 : -1]

    def after_all(self, cursor: int, limit: int, position: int = 0) -> tuple[list[Record], int]:
        """Returns records of every mailbox with ids above the cursor, oldest first, and where to go on.

        Args:
            position: the position that the last call returned, 0 for none.

        Raises:
            NotInTable: some of them may have left the table.
        """
        mark = self.durable_id
        self._require_complete_above(cursor)
        if not position or position < self._words[Header.TAIL]:
            position = self._first_position_above(cursor)
        found: list[Record] = []
        for record in self._forwards(position):
            if record.id > mark:
                break
            position = record.next_position
            if record.id > cursor and record.kind == RecordKind.MESSAGE and record.state is not DeliveryState.STRUCK:
                found.append(record)
                if len(found) == limit:
                    break
        self._require_complete_above(cursor)
        return found, position

    def newest(self, mailbox: str, limit: int) -> list[Record]:
        """Returns the newest records of a mailbox, newest first, `limit` at most.

        Raises:
            NotInTable: older ones that belong to them may have left the table.
        """
        mark = self.durable_id
        counts = self.counts(mailbox)
        found: list[Record] = []
        if counts is not None:
            for record in self._backwards(counts.newest_position):
                if record.id <= mark and record.state is not DeliveryState.STRUCK:
                    found.append(record)
                    if len(found) in (limit, counts.total):
                        return found
        self._require_complete_above(0)
        return found

    def unread(self, mailbox: str, limit: int) -> list[Record]:
        """Returns the oldest unread records of a mailbox, oldest first, `limit` at most.

        Raises:
            NotInTable: some of them may have left the table, or lie too far back.
        """
        mark = self.durable_id
        counts = self.counts(mailbox)
        if counts is None or not counts.unread:
            return []
        oldest = counts.oldest_unread_id
        found: list[Record] = []
        for record in self._backwards(counts.newest_position):
            if record.id < oldest:
                break
            if record.id <= mark and record.state.is_unread:
                found.append(record)
        self._require_complete_above(oldest - 1)
        return found[: -limit - 1 : -1]

    def find(self, message_id: int) -> Record:
        """Returns the record with this id.

        Raises:
            NotInTable: it is not in the table, or not visible.
        """
        if self.is_rebuilding or message_id > self.durable_id or message_id <= self.evicted_through:
            raise NotInTable
        for record in self._forwards(self._first_position_above(message_id - 1)):
            if record.id == message_id and record.state is not DeliveryState.STRUCK:
                return record
            break
        raise NotInTable

    def record_at(self, position: int) -> Record:
        """Returns the record at a position.

        Raises:
            NotInTable: there is no whole record of this position (any more).
        """
        ring = self._ring_bytes
        at = position % ring
        start = self._ring_offset + at
        if position < self._words[Header.TAIL] or at + RECORD_BYTES > ring:
            raise NotInTable
        length = int.from_bytes(self._memory[start : start + 4], "little")
        if not RECORD_BYTES <= length <= ring - at:
            raise NotInTable
        state = self._words[(start + STATE_OFFSET) >> 3]
        raw = bytes(self._memory[start : start + length])
        fence()
        _, crc, own, _, number, previous, timestamp_ms, kind, name_bytes, _ = RECORD.unpack_from(raw)
        if own != position or crc != record_checksum(memoryview(raw)[CHECKED_FROM:]):
            raise NotInTable
        body_at = RECORD_BYTES + name_bytes
        return Record(
            number,
            position,
            position + (length + 7 & ~7),
            previous,
            timestamp_ms,
            DeliveryState(state),
            kind,
            raw[RECORD_BYTES:body_at].decode(),
            raw[body_at:],
        )

    def find_slot(self, name: bytes) -> int | None:
        """Returns the slot of a mailbox, None if it has none."""
        slot = name_hash(name) % self._layout.slots
        for _ in range(self._layout.slots):
            length, held = SLOT_HEAD.unpack_from(self._memory, self._layout.slot_offset(slot))
            if not length:
                return None
            if held[:length] == name:
                return slot
            slot = (slot + 1) % self._layout.slots
        return None

    def _counts_of(self, slot: int) -> MailboxCounts:
        offset = self._layout.slot_offset(slot) + SLOT_HEAD.size
        try:
            payload = DoubleCell(self._memory, offset, COUNTS.size).read()
        except TornCell as error:
            raise NotInTable from error
        return MailboxCounts(*COUNTS.unpack(payload)) if payload else MailboxCounts()

    def _backwards(self, position: int) -> Iterator[Record]:
        """Yields a mailbox's records from a position back to the first one in the ring; the end is not checked."""
        for _ in range(MAX_STEPS):
            if not position or position < self._words[Header.TAIL]:
                return
            record = self.record_at(position)
            yield record
            position = record.previous
        raise NotInTable

    def _forwards(self, position: int) -> Iterator[Record]:
        """Yields the records of the ring from a position on, fillers left out."""
        while position < self._words[Header.HEAD]:
            if self._ring_bytes - position % self._ring_bytes < RECORD_BYTES:
                position += self._ring_bytes - position % self._ring_bytes
                continue
            record = self.record_at(position)
            if record.kind != RecordKind.FILLER:
                yield record
            position = record.next_position

    def _first_position_above(self, cursor: int) -> int:
        """Returns a position at or shortly before the first record with an id above the cursor, by the block index."""
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
        for record in self._forwards(start):
            if record.id > cursor:
                return record.position
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

    def _require_complete_above(self, cursor: int) -> None:
        """Passes if every record above the cursor was in the ring during the whole read."""
        fence()
        if cursor < self.evicted_through or self.is_rebuilding:
            raise NotInTable


assert SLOT_BYTES % 8 == 0  # the state words and cells stay aligned
