"""MailboxGauges — how full the mailbox's queues and its table are, shown now and then.

Owns when that is looked at; counting is done where things happen (`RequestHandler`, `OutcomeHandler`). Above: the mailbox's loop.
"""

__all__ = ["MailboxGauges"]

from typing import Any

from mailroomd.ipc.link import Link
from mailroomd.mailbox.state import MailboxState
from mailroomd.observability.metrics import MAILBOX_QUEUES, ORDERS_PENDING, TABLE_EVICTED, TABLE_MAILBOXES, TABLE_RING

SHOW_EVERY_SEC = 0.25  # seldom enough to cost nothing, often enough for any scraper


class MailboxGauges:
    """Shows the gauges.

    Args:
        books: the mailbox's state.
        link: to the command-queue.
    """

    def __init__(self, books: MailboxState, link: Link[Any, Any]) -> None:
        self._books = books
        self._link = link
        self._due_sec = 0.0
        self._evicted = 0

    def show(self, now_sec: float) -> None:
        """Shows them if it is time, on the monotonic clock."""
        if now_sec < self._due_sec:
            return
        self._due_sec = now_sec + SHOW_EVERY_SEC
        books, metrics = self._books, self._books.metrics
        metrics.set(ORDERS_PENDING.at, len(books.orders))
        metrics.set(MAILBOX_QUEUES.word("writes"), self._link.backlog)
        metrics.set(MAILBOX_QUEUES.word("events"), sum(port.backlog for port in books.ports))
        use = books.table.use()
        metrics.set(TABLE_RING.word("size"), use.ring_bytes)
        metrics.set(TABLE_RING.word("used"), use.ring_used_bytes)
        metrics.set(TABLE_MAILBOXES.word("size"), use.slots)
        metrics.set(TABLE_MAILBOXES.word("used"), use.slots_used)
        metrics.count(TABLE_EVICTED.at, use.evicted_bytes - self._evicted)
        self._evicted = use.evicted_bytes
