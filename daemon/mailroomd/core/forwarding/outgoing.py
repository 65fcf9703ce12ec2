"""Outgoing — decides what is published for one host, and when: one batch at a time, and again what did not arrive.

Owns the cursor into the queue of that host, the batch that is being published, and the pauses between repetitions. All
of it may be lost at any moment: the queue and the position sent last are in the database, and what the other host has
stored is its own knowledge. Only its report confirms an item. That the hub accepted a batch is a hint: it moves the
cursor, and nothing else.
Not here: publishing and asking (the relay), the queue (`storage.database.links`), the clock. Pure: no I/O.
Invariant: a batch names as its predecessor a position that the other host has stored, or that is published before it.
"""

__all__ = ["Batch", "Outgoing", "Report", "Row"]

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mailroomd.core.forwarding.position import Position

MAX_ITEMS = 256  # of one batch
MAX_BYTES = 512 << 10  # of one batch; a single message may be larger
ASK_AFTER_SEC = 15.0  # without news of an item that was published
REPEAT_PAUSE_SEC = 1.0  # before the first repetition; doubled with each that brings no news
MAX_PAUSE_SEC = 30 * 60.0


class Row(NamedTuple):
    """One item of the queue, without its content."""

    position: Position
    size_bytes: int


class Batch(NamedTuple):
    """Items to publish together.

    Attributes:
        after: the position of the item before the first one.
        last: the position of the last item.
        copy: counts the repetitions; a hub that recognizes repeated batches must not take this one for an earlier one.
    """

    after: Position
    last: Position
    copy: int


class Report(NamedTuple):
    """What the other host says of itself.

    Attributes:
        stored: the highest id stored from this host, by run.
        misses: it has dropped a batch because an item before it is missing.
        is_idle: nothing waits for it at the hub, as far as it knows.
    """

    stored: Mapping[int, int]
    misses: bool
    is_idle: bool


Rows = Callable[[int, int], Sequence[Row]]


class Outgoing:
    """One host's queue on its way out.

    Args:
        rows: returns the items after an id, in order, up to a limit: those that the other host has not confirmed.
        sent: the position that was sent last, from the database.
    """

    def __init__(self, rows: Rows, sent: Position) -> None:
        self._rows = rows
        self._sent = sent
        self._cursor = sent.id  # everything up to it is published, as far as is known
        self._after = sent
        self._batch: Batch | None = None
        self._copy = 0
        self._is_probing = False  # one repeated batch is out, and no other until there is news
        self._is_stale = True  # nothing is known of the other host since the start
        self._news_sec = 0.0  # when something was published or confirmed, or asked
        self._pause_sec = REPEAT_PAUSE_SEC
        self._repeat_at_sec = 0.0

    @property
    def sent(self) -> Position:
        """The highest position that was ever published."""
        return self._sent

    @property
    def repeats(self) -> int:
        """How often it began again with what the other host does not have."""
        return self._copy

    # -- publishing -----------------------------------------------------------------------------------------------

    def next_batch(self) -> Batch | None:
        """Returns the batch to publish now: the one that could not be published before, or the next one.

        Its intent has to be durable before it is published, if it ends beyond `sent`; then `items_of` has its items.
        """
        if self._batch is None and not (self._is_probing and self._published(1)):
            rows = _cut(self._rows(self._cursor, MAX_ITEMS))
            if rows:
                self._batch = Batch(self._after, rows[-1].position, self._copy)
        return self._batch

    def rows_of(self, batch: Batch) -> list[Row]:
        """Returns the items of a batch that still wait: some may have expired before the intent."""
        return [row for row in self._rows(self._cursor, MAX_ITEMS) if row.position.id <= batch.last.id]

    def on_published(self, batch: Batch, last: Position | None, now_sec: float) -> None:
        """Records that the hub has accepted a batch.

        Args:
            last: the position of its last item; None if none of them waited any more.
        """
        if self._batch is not batch:
            return  # a report has changed the plan meanwhile
        self._batch = None
        self._cursor = batch.last.id
        if last is not None:
            self._after = last
            self._sent = max(self._sent, last, key=lambda position: position.id)
            self._news_sec = now_sec

    # -- what the other host has ----------------------------------------------------------------------------------

    def should_ask(self, now_sec: float) -> bool:
        """Returns whether to ask the other host what it has: at the start, and without news of what was published."""
        if not (self._is_stale or now_sec - self._news_sec >= ASK_AFTER_SEC):
            return False
        return bool(self._published(1))

    def on_asked(self, now_sec: float) -> None:
        """Records that the other host was asked; without an answer it is asked again later."""
        self._is_stale = False
        self._news_sec = now_sec

    def runs(self) -> list[int]:
        """Returns the runs that the other host is to report on."""
        return sorted({self._sent.run, *(row.position.run for row in self._published(MAX_ITEMS))})

    def on_report(self, report: Report, has_confirmed: bool, now_sec: float) -> None:
        """Plans the repetition of what the other host does not have; call it when what it has left the queue.

        Args:
            report: what it says.
            has_confirmed: whether the report has confirmed anything that was not known to be stored.
        """
        if has_confirmed:
            self._news_sec = now_sec
            self._pause_sec = REPEAT_PAUSE_SEC
            self._is_probing = False
        published = self._published(1)
        if not published:
            if report.misses and report.stored.get(self._after.run, 0) < self._after.id:
                self._start_from(self._after.run, self._cursor, report)  # it lost what it had confirmed
            return
        if not (report.misses or report.is_idle) or now_sec < self._repeat_at_sec:
            return
        first = published[0].position
        self._start_from(first.run, first.id - 1, report)
        self._is_probing = True
        self._repeat_at_sec = now_sec + self._pause_sec
        self._pause_sec = min(self._pause_sec * 2, MAX_PAUSE_SEC)

    def _start_from(self, run: int, cursor: int, report: Report) -> None:
        """Continues after what the other host has of a run."""
        self._batch = None
        self._copy += 1
        self._cursor = cursor
        self._after = Position(run, report.stored.get(run, 0))

    def _published(self, limit: int) -> list[Row]:
        """Returns the first items that are published and not confirmed."""
        return [row for row in self._rows(0, limit) if row.position.id <= self._cursor]


def _cut(rows: Sequence[Row]) -> Sequence[Row]:
    """Returns as many rows as make one batch."""
    size_bytes = 0
    for count, row in enumerate(rows):
        size_bytes += row.size_bytes
        if count and size_bytes > MAX_BYTES:
            return rows[:count]
    return rows
