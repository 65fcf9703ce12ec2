"""SlotReader — finds mailboxes and their counts in the table's hash, while its writer moves slots.

Owns the search for a name and the list of all mailboxes. Not here: assigning slots (`MailboxSlots`).
Invariant: counts are returned only if the same name held the slot before and after they were read.
"""

__all__ = ["SlotReader"]

from collections.abc import Iterator

from mailroomd.memory.double_cell import DoubleCell, TornCell
from mailroomd.memory.fence import fence
from mailroomd.table.layout import COUNTS, SLOT_HEAD, VACANT, Header, MailboxCounts, TableLayout, name_hash
from mailroomd.table.record import NotInTable


class SlotReader:
    """The hash of mailboxes, for readers.

    Args:
        memory: the table's shared memory.
        layout: its layout.
    """

    def __init__(self, memory: memoryview, layout: TableLayout) -> None:
        self._memory = memory
        self._words = memory.cast("Q")
        self._layout = layout

    def counts(self, mailbox: str) -> MailboxCounts | None:
        """Returns the counts of a mailbox; None if there is no such mailbox.

        Raises:
            NotInTable: it may exist nevertheless, or it is changing its slot.
        """
        name, moves = mailbox.encode(), self._words[Header.MOVES]
        slot = self.find_slot(name)
        if slot is not None:
            counts = self._counts_in(slot)
            fence()
            if self._name_in(slot) != name:  # it was forgotten meanwhile, or moved to another slot
                raise NotInTable
            return counts
        self._require_unmoved(moves)
        if self._words[Header.OVERFLOWED]:
            raise NotInTable
        return None

    def all_counts(self) -> Iterator[tuple[str, MailboxCounts]]:
        """Yields the name and counts of every mailbox.

        Raises:
            NotInTable: some mailboxes have no slot, or have changed their slots meanwhile.
        """
        if self._words[Header.OVERFLOWED]:
            raise NotInTable
        moves = self._words[Header.MOVES]
        used = self._memory[self._layout.used_slots_offset :].cast("I")
        for index in range(self._words[Header.SLOTS_USED]):
            slot = used[index]
            name = self._name_in(slot)
            counts = self._counts_in(slot)
            self._require_unmoved(moves)
            if name is not None:
                yield name.decode(), counts

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

    def _name_in(self, slot: int) -> bytes | None:
        """Returns the name in a slot, None if it is free."""
        length, held = SLOT_HEAD.unpack_from(self._memory, self._layout.slot_offset(slot))
        return held[:length] if 0 < length < VACANT else None

    def _counts_in(self, slot: int) -> MailboxCounts:
        offset = self._layout.slot_offset(slot) + SLOT_HEAD.size
        try:
            payload = DoubleCell(self._memory, offset, COUNTS.size).read()
        except TornCell as error:
            raise NotInTable from error
        return MailboxCounts(*COUNTS.unpack(payload)) if payload else MailboxCounts()

    def _require_unmoved(self, moves: int) -> None:
        """Raises NotInTable if a mailbox has changed its slot in the meantime."""
        fence()
        if moves & 1 or self._words[Header.MOVES] != moves:
            raise NotInTable
