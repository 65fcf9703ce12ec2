"""TableWriter — the one writer of the mailbox table.

Owns every record, and the mailboxes' entries in its process's memory. Only the mailbox worker has one. Not here: the
mailboxes' slots (`MailboxSlots`), reading (`TableReader`), deciding what may be appended (`mailbox.process`).
Order of stores: a record, then its mailbox's counts, then the durable mark; the eviction bound before anything is
overwritten. Invariant: a reader, or a successor after a crash, finds each of these whole at any instant.
"""

__all__ = ["TableFull", "TableUse", "TableWriter"]

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
from mailroomd.table.reader import NotInTable, TableReader
from mailroomd.table.slots import MailboxSlots

_CRC = Struct("<I")
RECENT_IDS = 16_384  # whose positions are at hand, twice over: most messages move on soon, a search costs 40 µs


class TableFull(Exception):  # noqa: N818 - named for what was found
    """No room: what fills the ring is not durable yet. Wait for the command-queue."""


class TableUse(NamedTuple):
    """How full a table is; `evicted_bytes` since its writer was made."""

    ring_bytes: int
    ring_used_bytes: int
    slots: int
    slots_used: int
    evicted_bytes: int


class TableWriter:
    """Writes one table.

    Args:
        memory: the table's shared memory; pages that a rebuild empties go back to the system where it is an mmap's.
        layout: its layout.
    """

    def __init__(self, memory: memoryview, layout: TableLayout) -> None:
        self.reader = TableReader(memory, layout)
        self._memory = memory
        self._words = memory.cast("Q")
        self._layout = layout
        self._slots = MailboxSlots(memory, layout)
        self._entries: dict[str, MailboxEntry] = {}
        self._look_again_at = 0
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._evicted_bytes = 0

    @property
    def ring_bytes(self) -> int:
        """Size of the ring of records."""
        return self._layout.ring_bytes

    def use(self) -> TableUse:
        """Returns how full the table is."""
        words = self._words
        used = words[Header.HEAD] - words[Header.TAIL]
        return TableUse(self.ring_bytes, used, self._layout.slots, words[Header.SLOTS_USED], self._evicted_bytes)

    # -- mailboxes ------------------------------------------------------------------------------------------------

    def entry(self, name: str) -> MailboxEntry:
        """Returns the entry of a mailbox, made where it is new."""
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = MailboxEntry(name, self._slots.claim(name))
        return entry

    def forget_idle(self, kept: int) -> list[str]:
        """Forgets the mailboxes that nothing is known of but that somebody was here; returns their names.

        It takes a while (some 0.1 µs for each mailbox), so it waits until they may be twice as many as are kept.

        Args:
            kept: how many of them stay, those that were seen last.
        """
        if len(self._entries) < self._look_again_at:
            return []
        tail = self._words[Header.TAIL]
        idle = [one for one in self._entries.values() if one.is_idle(tail)]
        idle.sort(key=lambda one: one.last_seen_ms, reverse=True)
        for one in idle[kept:]:
            del self._entries[one.name]
            one.cell = None  # whoever still has it publishes nothing
            for name, cell in self._slots.take_away(one.name).items():
                self._entries[name].cell = cell
        self._look_again_at = len(self._entries) + kept
        return [one.name for one in idle[kept:]]

    # -- records --------------------------------------------------------------------------------------------------

    def append(self, number: int, timestamp_ms: int, entry: MailboxEntry, body: bytes, state: DeliveryState) -> int:
        """Appends a message's record, above the durable mark; returns its position.

        Raises:
            TableFull: the ring is full of records that are not durable yet; nothing changed.
        """
        name = entry.name.encode()
        length = RECORD_BYTES + len(name) + len(body)
        position = self._make_room(length + 7 & ~7)
        self._write_record(position, number, entry.append_position, timestamp_ms, RecordKind.MESSAGE, state, name, body)
        block = position // BLOCK_BYTES
        at = (self._layout.blocks_offset >> 3) + block % self._layout.blocks * 2
        if self._words[at] // BLOCK_BYTES != block or not self._words[at]:
            self._words[at + 1] = number
            fence()
            self._words[at] = position
        fence()
        self._words[Header.HEAD] = position + (length + 7 & ~7)
        self._remember(number, position)
        entry.append_position = position
        entry.pending += 1
        return position

    def set_state(self, position: int, state: DeliveryState) -> None:
        """Moves a record's state word, one store."""
        self._words[(self._layout.ring_offset + position % self._layout.ring_bytes + STATE_OFFSET) >> 3] = state

    def advance_state(self, message_id: int, state: DeliveryState) -> bool:
        """Moves a record forward to a state, if the ring still has it; returns whether it did.

        Whether the mark has passed it does not matter: several outcomes of one message may be heard before it moves.
        """
        try:
            position = self._position_of(message_id)
        except NotInTable:
            return False
        if not may_become(self._state_at(position), state):
            return False
        self.set_state(position, state)
        return True

    def offer(self, message_id: int, mailbox: str) -> bool:
        """Moves a record of this mailbox to OFFERED; returns False where the ring knows that it is no news.

        What the ring does not have, may be news: the database knows.
        """
        try:
            record = self.reader.record_at(self._position_of(message_id))
        except NotInTable:
            return True
        return record.mailbox == mailbox and self.advance_state(message_id, DeliveryState.OFFERED)

    def _position_of(self, message_id: int) -> int:
        position = self._young.get(message_id) or self._old.get(message_id, 0)
        return position if position >= self._words[Header.TAIL] else self.reader.position_of(message_id)

    def _remember(self, number: int, position: int) -> None:
        if len(self._young) >= RECENT_IDS:
            self._old, self._young = self._young, {}
        self._young[number] = position

    def _state_at(self, position: int) -> DeliveryState:
        start = self._layout.ring_offset + position % self._layout.ring_bytes
        return DeliveryState(self._words[(start + STATE_OFFSET) >> 3])

    def move_mark(self, number: int) -> None:
        """Makes every record up to this id visible."""
        fence()
        self._words[Header.DURABLE_ID] = max(number, self._words[Header.DURABLE_ID])

    def _write_record(
        self,
        position: int,
        number: int,
        previous: int,
        timestamp_ms: int,
        kind: RecordKind,
        state: DeliveryState,
        name: bytes,
        body: bytes,
    ) -> None:
        start = self._layout.ring_offset + position % self._layout.ring_bytes
        length = RECORD_BYTES + len(name) + len(body)
        RECORD.pack_into(
            self._memory, start, length, 0, position, state, number, previous, timestamp_ms, kind, len(name), 0
        )
        self._memory[start + RECORD_BYTES : start + length] = name + body
        checksum = record_checksum(self._memory[start + CHECKED_FROM : start + length])
        _CRC.pack_into(self._memory, start + 4, checksum)

    def _make_room(self, size: int) -> int:
        """Evicts what is oldest until `size` bytes fit in one piece; returns where."""
        ring = self._layout.ring_bytes
        if size > ring // 2:
            raise TableFull
        head = self._words[Header.HEAD]
        left = ring - head % ring
        position = head if left >= size else head + left
        self._evict(position + size - ring)
        if position != head and left >= RECORD_BYTES:
            start = self._layout.ring_offset + head % ring  # a head is enough: nobody reads a filler's body
            RECORD.pack_into(self._memory, start, left, 0, head, DeliveryState.VOIDED, 0, 0, 0, RecordKind.FILLER, 0, 0)
        return position

    def _evict(self, until: int) -> None:
        """Gives up the records that start before a position.

        Raises:
            TableFull: one of them is not durable; nothing changed.
        """
        tail = self._words[Header.TAIL]
        if tail >= until:
            return
        mark, through = self._words[Header.DURABLE_ID], self._words[Header.EVICTED_THROUGH]
        head, ring = self._words[Header.HEAD], self._layout.ring_bytes
        while tail < min(until, head):
            left = ring - tail % ring
            if left < RECORD_BYTES:
                tail += left
                continue
            length, _, _, _, number, *_ = RECORD.unpack_from(self._memory, self._layout.ring_offset + tail % ring)
            if number > mark:
                raise TableFull
            through = max(through, number)
            tail += length + 7 & ~7
        self._words[Header.EVICTED_THROUGH] = through
        fence()
        self._evicted_bytes += tail - self._words[Header.TAIL]
        self._words[Header.TAIL] = tail
        fence()

    # -- rebuilding -----------------------------------------------------------------------------------------------

    def begin_rebuild(self, evicted_through: int) -> None:
        """Empties the table and sends its readers to the database until `finish_rebuild`.

        Args:
            evicted_through: the highest id that will not be filled in again.
        """
        words = self._words
        words[Header.REBUILDING] = 1
        fence()
        words[Header.GENERATION] += 1
        ring = self._layout.ring_bytes
        fresh = (words[Header.HEAD] // ring + 1) * ring  # a new lap: positions of before are never valid again
        words[Header.EVICTED_THROUGH] = evicted_through
        words[Header.TAIL] = fresh
        words[Header.HEAD] = fresh
        self._slots.forget_all()
        fence()
        self._release_pages()
        self._entries, self._young, self._old = {}, {}, {}
        self._look_again_at = 0

    def finish_rebuild(self, durable_id: int) -> None:
        """Shows the filled table to the readers, up to this mark."""
        for entry in self._entries.values():
            entry.newest_position = entry.append_position
            entry.pending = 0
            entry.publish()
        self.move_mark(durable_id)
        fence()
        self._words[Header.REBUILDING] = 0

    def _release_pages(self) -> None:
        whole = self._memory.obj
        start = self._layout.used_slots_offset
        if isinstance(whole, mmap.mmap):
            whole.madvise(mmap.MADV_REMOVE, start, self._layout.size_bytes - start)
        else:
            self._memory[start:] = bytes(self._layout.size_bytes - start)
