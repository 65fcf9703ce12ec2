"""TableWriter — the only writer of the mailbox table.

Owns every record, and the mailboxes' entries in the memory of its process, the mailbox worker. Not here: the mailboxes'
slots (`MailboxSlots`), reading (`TableReader`), which messages may be appended (`mailbox.requests`).
Order of stores: a record, then its mailbox's counts, then the high-water mark; the eviction bound before anything is
overwritten. Invariant: a reader, or a successor after a crash, finds each of these whole at any instant.
"""

__all__ = ["TableFull", "TableUsage", "TableWriter"]

import mmap
from struct import Struct
from typing import NamedTuple

from mailroomd.memory.fence import fence
from mailroomd.model.states import DeliveryState, may_become
from mailroomd.table.entry import MailboxEntry
from mailroomd.table.layout import (
    BLOCK_BYTES,
    CHECKED_FROM,
    RECORD,
    RECORD_BYTES,
    STATE_OFFSET,
    Header,
    RecordKind,
    TableLayout,
    record_checksum,
)
from mailroomd.table.reader import TableReader
from mailroomd.table.record import NotInTable
from mailroomd.table.ring import RecordRing
from mailroomd.table.slots import MailboxSlots

_CRC = Struct("<I")
RECENT_IDS = 16_384  # twice this many positions are cached: most messages change state soon, and a search takes 40 µs


class TableFull(Exception):  # noqa: N818 - names the state of the table
    """No room: the ring is full of records that are not durable yet. Wait for the command-queue."""


class TableUsage(NamedTuple):
    """How full a table is; `evicted_bytes` counts from the creation of its writer."""

    ring_bytes: int
    ring_used_bytes: int
    slots: int
    slots_used: int
    evicted_bytes: int


class TableWriter:
    """Writes one table.

    Args:
        memory: the table's shared memory; if it is an mmap's, a rebuild returns emptied pages to the system.
        layout: its layout.
    """

    def __init__(self, memory: memoryview, layout: TableLayout) -> None:
        self.reader = TableReader(memory, layout)
        self._ring = RecordRing(memory, layout)
        self._memory = memory
        self._words = memory.cast("Q")
        self._layout = layout
        self._slots = MailboxSlots(memory, layout)
        self._entries: dict[str, MailboxEntry] = {}
        self._forget_at = 0
        self._recent: dict[int, int] = {}  # positions by id; moved to `_less_recent` when full
        self._less_recent: dict[int, int] = {}
        self._evicted_bytes = 0

    @property
    def ring_bytes(self) -> int:
        """Size of the ring of records."""
        return self._layout.ring_bytes

    def usage(self) -> TableUsage:
        """Returns how full the table is."""
        words = self._words
        used = words[Header.HEAD] - words[Header.TAIL]
        return TableUsage(self.ring_bytes, used, self._layout.slots, words[Header.SLOTS_USED], self._evicted_bytes)

    # -- mailboxes ------------------------------------------------------------------------------------------------

    def entry(self, name: str) -> MailboxEntry:
        """Returns the entry of a mailbox, creating it if it is new."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = MailboxEntry(name, self._slots.claim(name))
        return entry

    def has_entry(self, name: str) -> bool:
        """Returns whether a mailbox has an entry: it has mail, or its agent is remembered."""
        return name in self._entries

    def record_seen(self, entry: MailboxEntry, seen_ms: int) -> None:
        """Records that a mailbox's agent made a call; if it has no slot yet, it may now get one.

        Args:
            entry: of a mailbox that has not been forgotten.
            seen_ms: milliseconds since 1970.
        """
        entry.last_seen_ms = seen_ms
        if entry.cell is None:
            entry.cell = self._slots.claim(entry.name, entry.packed_counts(), is_seen=True)

    def forget_idle(self, kept: int) -> list[str]:
        """Forgets mailboxes that hold nothing except when their agents were last seen; returns their names.

        It looks at every mailbox (0.1 µs each), so it does nothing until there may be twice as many idle ones as are
        kept.

        Args:
            kept: how many of them stay; the most recently seen ones do.
        """
        if len(self._entries) < self._forget_at:
            return []
        tail = self._words[Header.TAIL]
        idle = [entry for entry in self._entries.values() if entry.is_idle(tail)]
        idle.sort(key=lambda entry: entry.last_seen_ms, reverse=True)
        for entry in idle[kept:]:
            del self._entries[entry.name]
            entry.cell = None  # anyone who still holds the entry publishes nothing
            for name, cell in self._slots.release(entry.name).items():
                self._entries[name].cell = cell
        self._forget_at = len(self._entries) + kept
        return [entry.name for entry in idle[kept:]]

    # -- records --------------------------------------------------------------------------------------------------

    def append(self, message_id: int, timestamp_ms: int, entry: MailboxEntry, body: bytes, state: DeliveryState) -> int:
        """Appends a message's record above the high-water mark; returns its position.

        Raises:
            TableFull: the ring is full of records that are not durable yet; nothing changed.
        """
        name = entry.name.encode()
        size = RECORD_BYTES + len(name) + len(body) + 7 & ~7
        position = self._make_room(size)
        self._write_record(position, message_id, timestamp_ms, entry.append_position, state, name, body)
        block = position // BLOCK_BYTES
        at = (self._layout.blocks_offset >> 3) + block % self._layout.blocks * 2
        if self._words[at] // BLOCK_BYTES != block or not self._words[at]:
            self._words[at + 1] = message_id
            fence()
            self._words[at] = position
        fence()
        self._words[Header.HEAD] = position + size
        self._cache_position(message_id, position)
        entry.append_position = position
        entry.pending += 1
        return position

    def set_state(self, position: int, state: DeliveryState) -> None:
        """Sets a record's state, in one store."""
        self._words[self._state_index(position)] = state

    def advance_state(self, message_id: int, state: DeliveryState) -> bool:
        """Moves a record forward to a state; returns False if the ring does not have it or the state does not allow it.

        The high-water mark does not matter: several outcomes of one message may arrive before it advances.
        """
        try:
            position = self._position_of(message_id)
        except NotInTable:
            return False
        if not may_become(DeliveryState(self._words[self._state_index(position)]), state):
            return False
        self.set_state(position, state)
        return True

    def offer(self, message_id: int, mailbox: str) -> bool:
        """Moves a record of this mailbox to OFFERED; returns False if it is known to have been offered before.

        Returns True for a record that is not in the ring, as only the database knows its state.
        """
        try:
            record = self._ring.record_at(self._position_of(message_id))
        except NotInTable:
            return True
        return record.mailbox == mailbox and self.advance_state(message_id, DeliveryState.OFFERED)

    def advance_high_water_mark(self, durable_id: int) -> None:
        """Makes every record with an id up to this one visible; never goes back."""
        fence()
        self._words[Header.DURABLE_ID] = max(durable_id, self._words[Header.DURABLE_ID])

    def _state_index(self, position: int) -> int:
        return (self._layout.ring_offset + position % self._layout.ring_bytes + STATE_OFFSET) >> 3

    def _position_of(self, message_id: int) -> int:
        position = self._recent.get(message_id) or self._less_recent.get(message_id, 0)
        return position if position >= self._words[Header.TAIL] else self._ring.position_of(message_id)

    def _cache_position(self, message_id: int, position: int) -> None:
        if len(self._recent) >= RECENT_IDS:
            self._less_recent, self._recent = self._recent, {}
        self._recent[message_id] = position

    def _write_record(
        self,
        position: int,
        message_id: int,
        timestamp_ms: int,
        previous: int,
        state: DeliveryState,
        name: bytes,
        body: bytes,
    ) -> None:
        start = self._layout.ring_offset + position % self._layout.ring_bytes
        length = RECORD_BYTES + len(name) + len(body)
        head = (length, 0, position, state, message_id, previous, timestamp_ms, RecordKind.MESSAGE, len(name), 0)
        RECORD.pack_into(self._memory, start, *head)
        self._memory[start + RECORD_BYTES : start + length] = name + body
        checksum = record_checksum(self._memory[start + CHECKED_FROM : start + length])
        _CRC.pack_into(self._memory, start + 4, checksum)

    def _make_room(self, size: int) -> int:
        """Evicts the oldest records until `size` contiguous bytes are free; returns their position."""
        ring = self._layout.ring_bytes
        if size > ring // 2:
            raise TableFull
        head = self._words[Header.HEAD]
        left = ring - head % ring
        position = head if left >= size else head + left
        self._evict(position + size - ring)
        if position != head and left >= RECORD_BYTES:
            start = self._layout.ring_offset + head % ring  # a head is enough: the body of a filler is never read
            RECORD.pack_into(self._memory, start, left, 0, head, DeliveryState.VOIDED, 0, 0, 0, RecordKind.FILLER, 0, 0)
        return position

    def _evict(self, until: int) -> None:
        """Evicts the records that start before a position.

        Raises:
            TableFull: one of them is not durable; nothing changed.
        """
        tail = self._words[Header.TAIL]
        if tail >= until:
            return
        durable_id, evicted_through = self._words[Header.DURABLE_ID], self._words[Header.EVICTED_THROUGH]
        head, ring = self._words[Header.HEAD], self._layout.ring_bytes
        while tail < min(until, head):
            left = ring - tail % ring
            if left < RECORD_BYTES:
                tail += left
                continue
            length, _, _, _, record_id, *_ = RECORD.unpack_from(self._memory, self._layout.ring_offset + tail % ring)
            if record_id > durable_id:
                raise TableFull
            evicted_through = max(evicted_through, record_id)
            tail += length + 7 & ~7
        self._words[Header.EVICTED_THROUGH] = evicted_through
        fence()
        self._evicted_bytes += tail - self._words[Header.TAIL]
        self._words[Header.TAIL] = tail
        fence()

    # -- rebuilding -----------------------------------------------------------------------------------------------

    def begin_rebuild(self, evicted_through: int) -> None:
        """Empties the table and sends its readers to the database until `finish_rebuild`.

        Args:
            evicted_through: the highest id that will not be loaded again.
        """
        words = self._words
        words[Header.REBUILDING] = 1
        fence()
        words[Header.GENERATION] += 1
        ring = self._layout.ring_bytes
        start = (words[Header.HEAD] // ring + 1) * ring  # a new lap, so that earlier positions never become valid again
        words[Header.EVICTED_THROUGH] = evicted_through
        words[Header.TAIL] = start
        words[Header.HEAD] = start
        self._slots.clear()
        fence()
        self._release_pages()
        self._entries, self._recent, self._less_recent = {}, {}, {}
        self._forget_at = 0

    def finish_rebuild(self, durable_id: int) -> None:
        """Publishes the filled table to the readers, with this high-water mark."""
        for entry in self._entries.values():
            entry.newest_position = entry.append_position
            entry.pending = 0
            entry.publish()
        self.advance_high_water_mark(durable_id)
        fence()
        self._words[Header.REBUILDING] = 0

    def _release_pages(self) -> None:
        whole = self._memory.obj
        start = self._layout.used_slots_offset
        if isinstance(whole, mmap.mmap):
            whole.madvise(mmap.MADV_REMOVE, start, self._layout.size_bytes - start)
        else:
            self._memory[start:] = bytes(self._layout.size_bytes - start)
