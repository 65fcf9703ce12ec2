"""TableLayout — the layout of the mailbox table's shared memory.

Owns offsets, sizes and struct formats, used by `TableWriter` (the mailbox worker) and `TableReader` (everyone else).
In order: header words | list of used slots | mailbox slots (a hash table) | block index | ring of records.
A position counts the bytes ever written to the ring, so it only grows; `position % ring_bytes` is its offset there.
"""

__all__ = [
    "BLOCK_BYTES",
    "COUNTS",
    "RECORD",
    "RECORD_BYTES",
    "SLOT_BYTES",
    "SLOT_HEAD",
    "VACANT",
    "Header",
    "MailboxCounts",
    "RecordKind",
    "TableLayout",
    "name_hash",
    "record_checksum",
]

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from mailroomd.memory.double_cell import DoubleCell

HEADER_BYTES = 4096  # one page
BLOCK_BYTES = 8 << 10  # of the ring per entry of the block index: bounds a search by id to about thirty records
NAME_BYTES = 128

RECORD = Struct("<IIQQQQqHHI")
"""length, crc, position, state, id, previous position in this mailbox, timestamp_ms, kind, name length, padding."""
RECORD_BYTES = RECORD.size
STATE_OFFSET = 16  # of the state word in a record: an aligned word of its own, outside the checksum
CHECKED_FROM = 24  # the checksum covers the record from here

COUNTS = Struct("<qqQQqqQ")
"""total, unread, oldest unread id, position of the newest durable record, last_seen_ms, subscribers, newest
response."""
SLOT_HEAD = Struct("<Q128s")
"""length of the name (0: free, VACANT: being reassigned), the name."""
VACANT = 1 << 8
"""In place of a length: the slot has no mailbox for a moment, but a search for others must continue behind it."""
SLOT_BYTES = SLOT_HEAD.size + DoubleCell.size_bytes(COUNTS.size)
assert SLOT_BYTES % 8 == 0  # so that cells and state words stay aligned


class Header(IntEnum):
    """The words of the table's header, by index."""

    GENERATION = 0
    """Grows with every rebuild, which invalidates all earlier positions."""
    REBUILDING = 1
    """1 while the table is being filled: readers use the database."""
    DURABLE_ID = 2
    """The high-water mark: readers ignore records with greater ids."""
    EVICTED_THROUGH = 3
    """Records with ids up to this one may have left the ring, or were never in it."""
    TAIL = 4
    """Position of the oldest record in the ring."""
    HEAD = 5
    """Position after the newest record."""
    SLOTS_USED = 6
    """Length of the list of used slots."""
    OVERFLOWED = 7
    """1 once a mailbox found no free slot: readers that miss a mailbox ask the database."""
    ANSWERED_ID = 9
    """The highest id that a sender was told of; the command-queue alone writes it. See `AnsweredMark`."""
    MOVES = 8
    """Grows before and after mailboxes change slots; while it is odd, a list of all mailboxes may miss one."""


class RecordKind(IntEnum):
    """Kinds of records."""

    FILLER = 0
    """Unused room at the end of the ring."""
    MESSAGE = 1


class MailboxCounts(NamedTuple):
    """The counts of a mailbox; times in milliseconds since 1970, 0 for never."""

    total: int = 0
    unread: int = 0
    oldest_unread_id: int = 0
    newest_position: int = 0
    last_seen_ms: int = 0
    subscribers: int = 0
    newest_response_id: int = 0


@dataclass(frozen=True)
class TableLayout:
    """Offsets for a table of this size, computed once: each message needs several.

    Attributes:
        size_bytes: of the whole shared memory.
        slots: number of mailbox slots.
    """

    size_bytes: int
    slots: int

    @classmethod
    def for_ring(cls, ring_bytes: int, slots: int) -> "TableLayout":
        """Returns the layout whose ring has this size, rounded up to whole blocks."""
        ring = -(-ring_bytes // BLOCK_BYTES) * BLOCK_BYTES
        fixed = HEADER_BYTES + slots * (SLOT_BYTES + 4)
        fixed = -(-fixed // 4096) * 4096
        return cls(fixed + ring // BLOCK_BYTES * 16 + ring, slots)

    @cached_property
    def used_slots_offset(self) -> int:
        """Of the list of used slots, 4 bytes each."""
        return HEADER_BYTES

    @cached_property
    def slots_offset(self) -> int:
        """Of the first mailbox slot, 8-byte aligned."""
        return HEADER_BYTES + -(-self.slots * 4 // 8) * 8

    @cached_property
    def ring_bytes(self) -> int:
        """Size of the ring: what the other parts leave, in whole blocks."""
        fixed = -(-(HEADER_BYTES + self.slots * (SLOT_BYTES + 4)) // 4096) * 4096
        return (self.size_bytes - fixed) // (BLOCK_BYTES + 16) * BLOCK_BYTES

    @cached_property
    def blocks(self) -> int:
        """Number of entries in the block index."""
        return self.ring_bytes // BLOCK_BYTES

    @cached_property
    def ring_offset(self) -> int:
        """Of the ring."""
        return self.size_bytes - self.ring_bytes

    @cached_property
    def blocks_offset(self) -> int:
        """Of the block index: two words per block, position and id of the first record that starts there."""
        return self.ring_offset - self.blocks * 16

    def slot_offset(self, slot: int) -> int:
        """Of one mailbox slot."""
        return self.slots_offset + slot * SLOT_BYTES


def name_hash(name: bytes) -> int:
    """Returns a hash that is the same in every process, unlike Python's own."""
    return crc32(name)


def record_checksum(checked: bytes | memoryview) -> int:
    """Returns the checksum of a record's bytes from `CHECKED_FROM` on."""
    return crc32(checked)
