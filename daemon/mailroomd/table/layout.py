"""TableLayout — where everything lies in the mailbox table's shared memory.

Owns offsets, sizes and struct formats, used by `TableWriter` (the mailbox) and `TableReader` (everyone else).
From the start: header words | block index | list of used slots | mailbox slots (a hash) | ring of records.
A position is a record's place in an endless ring: it only grows, `position % ring_bytes` is where it lies.
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
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from mailroomd.memory.double_cell import DoubleCell

HEADER_BYTES = 4096  # one page
BLOCK_BYTES = 8 << 10  # of the ring per entry of the block index: bounds a search by id to some thirty records
NAME_BYTES = 128

RECORD = Struct("<IIQQQQqHHI")
"""length, crc, position, state, id, previous position in this mailbox, timestamp_ms, kind, name length, padding."""
RECORD_BYTES = RECORD.size
STATE_OFFSET = 16  # of the state word within a record; an aligned word of its own, outside the checksum
CHECKED_FROM = 24  # the checksum covers the record from here

COUNTS = Struct("<qqQQqqQ")
"""total, unread, oldest unread id, position of the newest durable record, last_seen_ms, subscribers, newest
response."""
SLOT_HEAD = Struct("<Q128s")
"""length of the name (0: free, VACANT: it changes hands), the name."""
VACANT = 1 << 8
"""In place of a length: the slot is nobody's for a moment, and the way to others leads through it."""
SLOT_BYTES = SLOT_HEAD.size + DoubleCell.size_bytes(COUNTS.size)


class Header(IntEnum):
    """The words of the table's header, by index."""

    GENERATION = 0
    """Grows with every rebuild; voids positions that were remembered from before."""
    REBUILDING = 1
    """1 while the table is being filled: readers go to the database."""
    DURABLE_ID = 2
    """The durable mark: readers ignore every record with a greater id."""
    EVICTED_THROUGH = 3
    """Every record with an id up to this one has left the ring, or was never in it."""
    TAIL = 4
    """Position of the oldest record in the ring."""
    HEAD = 5
    """Position behind the newest record."""
    SLOTS_USED = 6
    """Length of the list of used slots."""
    OVERFLOWED = 7
    """1 when a mailbox found no slot: readers that miss one ask the database."""
    MOVES = 8
    """Grows before and after mailboxes change their slots; odd in between: a list of all may lack one then."""


class RecordKind(IntEnum):
    """What a record is."""

    FILLER = 0
    """Room left at the end of the ring."""
    MESSAGE = 1


class MailboxCounts(NamedTuple):
    """How a mailbox stands; times in milliseconds since 1970, 0 for never."""

    total: int = 0
    unread: int = 0
    oldest_unread_id: int = 0
    newest_position: int = 0
    last_seen_ms: int = 0
    subscribers: int = 0
    newest_response_id: int = 0


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Offsets for a table of this size.

    Attributes:
        size_bytes: of the whole shared memory.
        slots: mailboxes that it has room for.
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

    @property
    def used_slots_offset(self) -> int:
        """Of the list of used slots: a 4-byte number each."""
        return HEADER_BYTES

    @property
    def slots_offset(self) -> int:
        """Of the first mailbox slot, on an 8-byte boundary."""
        return HEADER_BYTES + -(-self.slots * 4 // 8) * 8

    @property
    def ring_bytes(self) -> int:
        """Size of the ring: what the fixed parts leave, in whole blocks."""
        fixed = -(-(HEADER_BYTES + self.slots * (SLOT_BYTES + 4)) // 4096) * 4096
        return (self.size_bytes - fixed) // (BLOCK_BYTES + 16) * BLOCK_BYTES

    @property
    def blocks(self) -> int:
        """Entries of the block index."""
        return self.ring_bytes // BLOCK_BYTES

    @property
    def ring_offset(self) -> int:
        """Of the ring."""
        return self.size_bytes - self.ring_bytes

    @property
    def blocks_offset(self) -> int:
        """Of the block index: two words for each block, the first record's position and id."""
        return self.ring_offset - self.blocks * 16

    def slot_offset(self, slot: int) -> int:
        """Of one mailbox slot."""
        return self.slots_offset + slot * SLOT_BYTES


def name_hash(name: bytes) -> int:
    """Returns the same number for a name in every process (unlike Python's own hash)."""
    return crc32(name)


def record_checksum(checked: bytes | memoryview) -> int:
    """Returns the checksum of a record's bytes from `CHECKED_FROM` on."""
    return crc32(checked)
