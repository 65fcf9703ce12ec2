"""MailboxSlots — the writer's side of the hash table of mailboxes.

Owns which name holds which slot, the list of slots that were ever used, and releasing slots. Not here: the counts
(`MailboxEntry`), which mailboxes are forgotten (`TableWriter`), finding a name (`SlotReader`).
The hash table uses linear probing; the mailboxes behind a released slot move up, so that no gap is left.
Invariant: a reader that finds a name in the same slot before and after it reads the counts has read that mailbox's.
"""

__all__ = ["MailboxSlots"]

from mailroomd.memory.double_cell import DoubleCell
from mailroomd.memory.fence import fence
from mailroomd.table.layout import (
    COUNTS,
    SLOT_HEAD,
    VACANT,
    Header,
    MailboxCounts,
    TableLayout,
    name_hash,
)

FREE = 0
MAX_LOAD = 7 / 8  # of the slots; above it probing gets slow, so further mailboxes are left to the database
MAX_UNSEEN_LOAD = 3 / 4  # of the slots, for names that have only been written to: a sender may invent any number
NO_COUNTS = COUNTS.pack(*MailboxCounts())


class MailboxSlots:
    """Assigns slots.

    Args:
        memory: the table's shared memory.
        layout: its layout.
    """

    def __init__(self, memory: memoryview, layout: TableLayout) -> None:
        self._memory = memory
        self._words = memory.cast("Q")
        self._layout = layout
        self._slots: dict[str, int] = {}
        self._listed: set[int] = set()

    def claim(self, name: str, counts: bytes = NO_COUNTS, *, is_seen: bool = False) -> DoubleCell | None:
        """Assigns a slot to a name; returns the cell for its counts, or None if no slot is left for it.

        Args:
            name: of a mailbox that has no slot.
            counts: what readers see from the start; they must not find a mailbox with mail empty.
            is_seen: whether its agent has made a call, and so may use the slots that are kept for such agents.
        """
        if len(self._slots) >= self._layout.slots * (MAX_LOAD if is_seen else MAX_UNSEEN_LOAD):
            self._words[Header.OVERFLOWED] = 1
            return None
        slot = name_hash(name.encode()) % self._layout.slots
        while self._length_of(slot):
            slot = self._next(slot)
        return self._put(name, slot, counts)

    def release(self, name: str) -> dict[str, DoubleCell]:
        """Releases a name's slot, if it has one; returns the new cells of the mailboxes that moved up, by name."""
        gap = self._slots.pop(name, None)
        if gap is None:
            return {}
        moved: dict[str, DoubleCell] = {}
        self._words[Header.MOVES] += 1
        self._set_length(gap, VACANT)
        slot = self._next(gap)
        while self._length_of(slot):
            other = self._name_in(slot)
            if self._is_reachable_at(gap, other, slot):
                moved[other] = self._put(other, gap, self._cell(slot).read())  # for a moment it is in both slots
                self._set_length(slot, VACANT)
                gap = slot
            slot = self._next(slot)
        self._set_length(gap, FREE)
        self._words[Header.MOVES] += 1
        return moved

    def clear(self) -> None:
        """Starts without any mailbox; the caller zeroes the slots."""
        self._words[Header.SLOTS_USED] = 0
        self._words[Header.OVERFLOWED] = 0
        self._words[Header.MOVES] += self._words[Header.MOVES] & 1  # the predecessor may have died during a move
        self._slots, self._listed = {}, set()

    def _put(self, name: str, slot: int, counts: bytes) -> DoubleCell:
        encoded = name.encode()
        offset = self._layout.slot_offset(slot)
        self._memory[offset + 8 : offset + 8 + len(encoded)] = encoded
        cell = self._cell(slot)
        if slot in self._listed or counts != NO_COUNTS:
            cell.write(counts)
        self._set_length(slot, len(encoded))  # from here on, readers find it
        self._list_used(slot)
        self._slots[name] = slot
        return cell

    def _is_reachable_at(self, gap: int, name: str, slot: int) -> bool:
        """Returns whether a search for a name, now in `slot`, would pass through an earlier gap."""
        home = name_hash(name.encode()) % self._layout.slots
        return (slot - home) % self._layout.slots >= (slot - gap) % self._layout.slots

    def _list_used(self, slot: int) -> None:
        """Appends a slot to the list of used slots, once."""
        if slot in self._listed:
            return
        used = len(self._listed)
        at = self._layout.used_slots_offset + used * 4
        self._memory[at : at + 4] = slot.to_bytes(4, "little")
        fence()
        self._words[Header.SLOTS_USED] = used + 1
        self._listed.add(slot)

    def _next(self, slot: int) -> int:
        return (slot + 1) % self._layout.slots

    def _cell(self, slot: int) -> DoubleCell:
        return DoubleCell(self._memory, self._layout.slot_offset(slot) + SLOT_HEAD.size, COUNTS.size)

    def _name_in(self, slot: int) -> str:
        length, name = SLOT_HEAD.unpack_from(self._memory, self._layout.slot_offset(slot))
        return name[:length].decode()

    def _length_of(self, slot: int) -> int:
        return self._words[self._layout.slot_offset(slot) >> 3]

    def _set_length(self, slot: int, length: int) -> None:
        fence()
        self._words[self._layout.slot_offset(slot) >> 3] = length
        fence()
