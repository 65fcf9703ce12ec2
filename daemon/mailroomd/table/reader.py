"""TableReader — reads the mailbox table without ever waiting for its writer.

Owns which records are visible, and noticing that a rebuild or an eviction has interfered with a read. Any process may
read at any time, even while the mailbox worker is busy, stopped or dead. A read either returns an answer or raises
`NotInTable` if the table cannot be certain (rebuilding, evicted, too far back); the caller then reads the database.
Above: `MailReader`; below: `RecordRing`, `SlotReader`.
Invariant: no torn record, no record above the high-water mark and no voided one is ever returned.
"""

__all__ = ["NotInTable", "Record", "TableReader"]

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from mailroomd.memory.fence import fence
from mailroomd.model.ids import MAX_ID
from mailroomd.model.page import READ_BYTES, Page
from mailroomd.model.states import DeliveryState
from mailroomd.table.layout import Header, MailboxCounts, TableLayout
from mailroomd.table.record import NotInTable, Record
from mailroomd.table.ring import RecordRing
from mailroomd.table.slot_reader import SlotReader

MAX_DISTANCE = 16  # records between two that are read in one walk; to walk over more takes as long as a new search
FEW_UNREAD = 128  # up to here, walking over all of them is faster than querying the database


def _accept_any(_: int, __: DeliveryState) -> bool:
    return True


class TableReader:
    """Reads one table.

    Args:
        memory: the table's shared memory.
        layout: its layout.
    """

    def __init__(self, memory: memoryview, layout: TableLayout) -> None:
        self._words = memory.cast("Q")
        self._ring = RecordRing(memory, layout)
        self._slots = SlotReader(memory, layout)

    @property
    def durable_id(self) -> int:
        """The high-water mark."""
        return self._words[Header.DURABLE_ID]

    @property
    def answered_id(self) -> int:
        """The highest id that a sender was told of, which may be above the high-water mark for a moment."""
        return self._words[Header.ANSWERED_ID]

    @property
    def evicted_through(self) -> int:
        """The id up to which records may be missing in the table."""
        return self._words[Header.EVICTED_THROUGH]

    @property
    def is_rebuilding(self) -> bool:
        """Whether the table is being filled, or never was."""
        return self._words[Header.REBUILDING] == 1 or not self._words[Header.GENERATION]

    def counts(self, mailbox: str) -> MailboxCounts | None:
        """Returns the counts of a mailbox; None if there is no such mailbox.

        Raises:
            NotInTable: it may exist nevertheless.
        """
        generation = self._begin()
        counts = self._slots.counts(mailbox)
        self._require_same(generation)
        return counts

    def all_counts(self) -> Iterator[tuple[str, MailboxCounts]]:
        """Yields the name and counts of every mailbox.

        Raises:
            NotInTable: the table does not hold all of them, or no longer does.
        """
        generation = self._begin()
        for name, counts in self._slots.all_counts():
            self._require_same(generation)
            yield name, counts
        self._require_same(generation)

    def after(self, mailbox: str, cursor: int, limit: int, budget_bytes: int = READ_BYTES) -> Page[Record]:
        """Returns a mailbox's records with ids above the cursor, oldest first, within both bounds.

        Raises:
            NotInTable: some of them may have left the table, or there are too many to walk over.
        """
        generation, durable_id = self._begin_visible()
        counts = self._slots.counts(mailbox)
        positions: deque[int] = deque(maxlen=limit)  # the walk goes back, so the oldest come last
        if counts is not None:
            for position, message_id, state in self._ring.walk_back(counts.newest_position):
                if message_id <= cursor:
                    break
                if message_id <= durable_id and state != DeliveryState.VOIDED:
                    positions.append(position)
            self._require_complete_above(cursor)
        return self._page(reversed(positions), generation, limit, budget_bytes)

    def after_all(
        self, cursor: int, limit: int, position: int = 0, budget_bytes: int = READ_BYTES
    ) -> tuple[Page[Record], int]:
        """Returns records of all mailboxes with ids above the cursor, oldest first, and the position to continue from.

        Args:
            cursor: an id.
            limit: of records.
            position: the position that the previous call returned; 0 to search for the cursor.
            budget_bytes: of bodies, after the first record.

        Raises:
            NotInTable: some of them may have left the table.
        """
        generation, durable_id = self._begin_visible()
        self._require_complete_above(cursor)
        if position < self._words[Header.TAIL]:
            position = self._ring.first_position_above(cursor)
        positions: list[int] = []
        for start, next_position, message_id, state in self._ring.walk_forward(position):
            if message_id > durable_id:
                break
            position = next_position
            if message_id > cursor and state != DeliveryState.VOIDED:
                positions.append(start)
                if len(positions) == limit:
                    break
        self._require_complete_above(cursor)
        page = self._page(positions, generation, limit, budget_bytes)
        return page, page[-1].next_position if page.is_cut else position

    def newest(
        self,
        mailbox: str,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        below: int = MAX_ID,
        unread_only: bool = False,
    ) -> Page[Record]:
        """Returns a mailbox's newest records with ids below a bound, newest first, within both limits.

        Raises:
            NotInTable: older ones that belong to them may have left the table.
        """
        generation, durable_id = self._begin_visible()
        through_id = min(durable_id, below - 1)
        last_state = DeliveryState.OFFERED if unread_only else DeliveryState.RETURNED
        counts = self._slots.counts(mailbox)
        positions: list[int] = []
        if counts is not None and (counts.unread if unread_only else counts.total):
            oldest_id = counts.oldest_unread_id if unread_only else 0
            for position, message_id, state in self._ring.walk_back(counts.newest_position):
                if message_id < oldest_id:
                    break
                if message_id <= through_id and DeliveryState.STORED <= state <= last_state:
                    positions.append(position)
                    if len(positions) in (limit, counts.total):
                        break
            else:
                self._require_complete_above(max(0, oldest_id - 1))
        return self._page(positions, generation, limit, budget_bytes)

    def unread(
        self,
        mailbox: str,
        limit: int,
        budget_bytes: int = READ_BYTES,
        *,
        newest_first: bool = False,
        is_wanted: Callable[[int, DeliveryState], bool] = _accept_any,
    ) -> Page[Record]:
        """Returns the oldest unread records of a mailbox, oldest first; or the newest ones, newest first.

        Args:
            mailbox: its name.
            limit: of records.
            budget_bytes: of bodies, after the first record.
            newest_first: whether to return the newest ones.
            is_wanted: filters by id and state, before a body is copied.

        Raises:
            NotInTable: some of them may have left the table, or are too far back.
        """
        generation, durable_id = self._begin_visible()
        counts = self._slots.counts(mailbox) or MailboxCounts()
        if not newest_first and counts.unread > max(limit, FEW_UNREAD):
            raise NotInTable  # the oldest are at the far end of the walk; the database has an index of them
        positions: deque[int] = deque(maxlen=None if newest_first else limit)
        if counts.unread:
            for position, message_id, value in self._ring.walk_back(counts.newest_position):
                if message_id < counts.oldest_unread_id:
                    break
                is_unread = DeliveryState.STORED <= value <= DeliveryState.OFFERED
                if message_id <= durable_id and is_unread and is_wanted(message_id, DeliveryState(value)):
                    positions.append(position)
            self._require_complete_above(counts.oldest_unread_id - 1)
        first = islice(positions, limit) if newest_first else reversed(positions)
        return self._page(first, generation, limit, budget_bytes)

    def timestamp_ms_of(self, message_id: int) -> int:
        """Returns when the message with this id was accepted.

        Raises:
            NotInTable: it is not in the table, or not visible.
        """
        generation, durable_id = self._begin_visible()
        if message_id > durable_id:
            raise NotInTable
        record = self._ring.record_at(self._ring.position_of(message_id))
        self._require_same(generation)
        return record.timestamp_ms

    def states_of(self, message_ids: Iterable[int]) -> dict[int, DeliveryState]:
        """Returns the states of visible records by id, without those that are not in the table.

        It searches for one record and walks on to its neighbours, so ids that are close together take little more time
        than one.

        Raises:
            NotInTable: the table is being filled.
        """
        generation, durable_id = self._begin_visible()
        wanted = {message_id for message_id in message_ids if self.evicted_through < message_id <= durable_id}
        states: dict[int, DeliveryState] = {}
        while wanted:
            first_id = min(wanted)
            with suppress(NotInTable):  # it has left the ring
                for record_id, state in self._neighbours(first_id, wanted):
                    wanted.remove(record_id)
                    if state != DeliveryState.VOIDED:
                        states[record_id] = DeliveryState(state)
            wanted.discard(first_id)
        self._require_same(generation)
        return states

    def _neighbours(self, first_id: int, wanted: Collection[int]) -> Iterator[tuple[int, int]]:
        """Yields id and state of wanted records, from an id on, until none follows within a short distance."""
        distance = 0
        for _, _, record_id, state in self._ring.walk_forward(self._ring.first_position_above(first_id - 1)):
            if record_id in wanted:
                distance = 0
                yield record_id, state
            else:
                distance += 1
            if not wanted or distance == MAX_DISTANCE:
                return

    def visible_ids(self) -> list[int]:
        """Returns the ids of all visible records, in order; those that leave the ring meanwhile may be missing.

        Raises:
            NotInTable: the table is being filled.
        """
        generation, durable_id = self._begin_visible()
        position = self._words[Header.TAIL]
        ids: list[int] = []
        while True:
            try:
                for _, next_position, message_id, state in self._ring.walk_forward(position):
                    position = next_position
                    if message_id <= durable_id and state != DeliveryState.VOIDED:
                        ids.append(message_id)
                break
            except NotInTable:
                if self._words[Header.TAIL] <= position:
                    raise
                position = self._words[Header.TAIL]  # evictions have overtaken the walk
        self._require_same(generation)
        return ids

    def record_at(self, position: int) -> Record:
        """Returns the record at a position, whether or not it is visible.

        Raises:
            NotInTable: no whole record starts there, or it has left the ring.
        """
        return self._ring.record_at(position)

    # -- rebuilds and evictions in the middle of a read -----------------------------------------------------------

    def _begin(self) -> int:
        """Returns the table's generation, or raises NotInTable if the table is being filled."""
        generation = self._words[Header.GENERATION]
        fence()
        if self.is_rebuilding:
            raise NotInTable
        return generation

    def _begin_visible(self) -> tuple[int, int]:
        """Returns the table's generation and the high-water mark, below which everything is visible from here on."""
        generation, durable_id = self._begin(), self.durable_id
        fence()
        return generation, durable_id

    def _require_same(self, generation: int) -> None:
        """Raises NotInTable if the table was rebuilt in the meantime."""
        fence()
        if self._words[Header.GENERATION] != generation:
            raise NotInTable

    def _require_complete_above(self, cursor: int) -> None:
        """Raises NotInTable if a record above the cursor may have been evicted before or during the read."""
        fence()
        if cursor < self.evicted_through:
            raise NotInTable

    def _page(self, positions: Iterable[int], generation: int, limit: int, budget_bytes: int) -> Page[Record]:
        page: Page[Record] = Page()
        for position in positions:
            if page and budget_bytes <= 0:
                page.cut()
                break
            record = self._ring.record_at(position)
            page.append(record)
            budget_bytes -= len(record.body)
        self._require_same(generation)
        return page.cut() if len(page) == limit else page
