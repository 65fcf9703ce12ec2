"""RecordRing — reads single records of the mailbox table and walks over them, while its writer keeps writing.

Owns finding a record by position or id, and the two walks: back through one mailbox, forward through the ring. Not
here: which records a reader may see (`TableReader`), writing (`TableWriter`). Below: `TableLayout`.
Invariant: a record that was overwritten while it was read is never returned.
"""

__all__ = ["MAX_STEPS", "RecordRing"]

from collections.abc import Iterator

from mailroomd.memory.fence import fence
from mailroomd.model.states import DeliveryState
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
from mailroomd.table.record import NotInTable, Record

MAX_STEPS = 1024  # records that one read visits at most: bounds how long it blocks the gateway's loop
_LENGTH, _POSITION, _STATE, _ID, _PREVIOUS, _KIND = 0, 2, 3, 4, 5, 7  # fields of `RECORD`


class RecordRing:
    """The ring of records.

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

    def record_at(self, position: int) -> Record:
        """Returns the record at a position.

        Raises:
            NotInTable: no whole record starts there, or it has left the ring.
        """
        head = self._head_at(position)
        if head is None:
            raise NotInTable
        length, crc, _, _, record_id, previous_position, timestamp_ms, kind, name_bytes, _ = head
        start = self._ring_offset + position % self._ring_bytes
        checked = bytes(self._memory[start + CHECKED_FROM : start + length])
        state = self._words[(start + STATE_OFFSET) >> 3]
        fence()
        if position < self._words[Header.TAIL] or crc != record_checksum(checked):
            raise NotInTable  # records above the tail were not overwritten while they were copied
        name_at = RECORD_BYTES - CHECKED_FROM
        body_at = name_at + name_bytes
        return Record(
            record_id,
            position,
            position + (length + 7 & ~7),
            previous_position,
            timestamp_ms,
            DeliveryState(state),
            kind,
            checked[name_at:body_at].decode(),
            checked[body_at:],
        )

    def position_of(self, record_id: int) -> int:
        """Returns the position of the record with this id, whether or not it is durable.

        Raises:
            NotInTable: it is not in the ring.
        """
        if record_id <= self._words[Header.EVICTED_THROUGH]:
            raise NotInTable
        position = self.first_position_above(record_id - 1)
        head = self._head_at(position) if position < self._words[Header.HEAD] else None
        if head is None or head[_ID] != record_id:
            raise NotInTable
        return position

    def walk_back(self, position: int) -> Iterator[tuple[int, int, int]]:
        """Yields position, id and state of one mailbox's records, from a position back to the oldest in the ring.

        Raises:
            NotInTable: the walk exceeds `MAX_STEPS`, or no record starts at the position.
        """
        steps = 0
        while position and (head := self._head_at(position)) is not None:
            if steps == MAX_STEPS:
                raise NotInTable
            steps += 1
            yield position, head[_ID], head[_STATE]
            position = head[_PREVIOUS]

    def walk_forward(self, position: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields position, next position, id and state of the ring's records, from a position on.

        Raises:
            NotInTable: evictions have overtaken the walk.
        """
        while position < self._words[Header.HEAD]:
            left = self._ring_bytes - position % self._ring_bytes
            if left < RECORD_BYTES:
                position += left
                continue
            head = self._head_at(position)
            if head is None:
                raise NotInTable
            next_position = position + (head[_LENGTH] + 7 & ~7)
            if head[_KIND] != RecordKind.FILLER:
                yield position, next_position, head[_ID], head[_STATE]
            position = next_position

    def first_position_above(self, record_id: int) -> int:
        """Returns the position of the first record with a greater id, the head of the ring if there is none.

        Raises:
            NotInTable: evictions have overtaken the search.
        """
        tail, head = self._words[Header.TAIL], self._words[Header.HEAD]
        low, high = tail // BLOCK_BYTES, head // BLOCK_BYTES
        start = tail
        while low <= high:
            middle = (low + high) // 2
            block, first = self._block_at_or_before(middle, low)
            if first is None:
                low = middle + 1
            elif first[1] <= record_id:
                start = max(start, first[0])
                low = middle + 1
            else:
                high = block - 1
        for position, _, found_id, _ in self.walk_forward(start):
            if found_id > record_id:
                return position
        return head

    def _block_at_or_before(self, block: int, lowest: int) -> tuple[int, tuple[int, int] | None]:
        """Returns the nearest block, going back, in which a record starts, with that record's position and id."""
        tail = self._words[Header.TAIL]
        while block >= lowest:
            at = (self._layout.blocks_offset >> 3) + block % self._layout.blocks * 2
            position, record_id = self._words[at], self._words[at + 1]
            if position // BLOCK_BYTES == block and position >= tail and position:
                return block, (position, record_id)
            block -= 1
        return block, None

    def _head_at(self, position: int) -> tuple[int, ...] | None:
        """Returns the fields of a record's head, safe to follow; None if the record has left the ring.

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
