"""MailboxCounters — total, unread and oldest unread message of each mailbox, kept in the transaction that changes them.

Owns the counters' columns in `mailboxes`, and a bounded memory of those touched last. Not here: transactions
(`MessageStore`).
Invariant: after `settle`, the counters in the database equal a recount in the same transaction.
"""

__all__ = ["MailboxCounters"]

import sqlite3
from dataclasses import dataclass

from mailroomd.protocol.commands import MailboxCounted

MAX_KNOWN = 50_000  # mailboxes whose counters are remembered; reading one again costs a look-up


@dataclass(slots=True)
class _Counts:
    total: int
    unread: int
    oldest_unread_id: int


class MailboxCounters:
    """Counts messages.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._counts: dict[str, _Counts] = {}
        self._touched: set[str] = set()

    def add(self, mailbox: str, number: int) -> None:
        """Counts a new message."""
        counts = self._of(mailbox)
        counts.total += 1
        counts.unread += 1
        counts.oldest_unread_id = counts.oldest_unread_id or number

    def take_off_unread(self, mailbox: str, newly_read: int) -> None:
        """Counts messages as read whose rows say so by now; with 0, the mailbox is only told of again."""
        counts = self._of(mailbox)
        counts.unread -= newly_read
        if newly_read:
            counts.oldest_unread_id = self._oldest_unread(mailbox)

    def remove(self, mailbox: str, total: int, unread: int) -> None:
        """Counts messages off whose rows are gone by now, so many of them unread."""
        counts = self._of(mailbox)
        counts.total -= total
        self.take_off_unread(mailbox, unread)

    def tell(self, mailbox: str) -> MailboxCounted:
        """Returns how a mailbox stands; it is told of again with the next `settle`, too."""
        counts = self._of(mailbox)
        return MailboxCounted(mailbox, counts.total, counts.unread, counts.oldest_unread_id)

    def settle(self) -> list[MailboxCounted]:
        """Writes the counters of the touched mailboxes; returns how they stand."""
        touched = [self.tell(name) for name in self._touched]
        self._touched = set()
        self._connection.executemany(
            "INSERT INTO mailboxes (name, total, unread) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET total = excluded.total, unread = excluded.unread",
            [(one.name, one.total, one.unread) for one in touched],
        )
        return touched

    def forget(self) -> None:
        """Forgets everything: the transaction was rolled back."""
        self._counts = {}
        self._touched = set()

    def _of(self, mailbox: str) -> _Counts:
        self._touched.add(mailbox)
        counts = self._counts.get(mailbox)
        if counts is None:
            if len(self._counts) >= MAX_KNOWN:
                self._counts = {name: one for name, one in self._counts.items() if name in self._touched}
            row = self._connection.execute("SELECT total, unread FROM mailboxes WHERE name = ?", (mailbox,)).fetchone()
            total, unread = row or (0, 0)
            counts = self._counts[mailbox] = _Counts(total, unread, self._oldest_unread(mailbox) if unread else 0)
        return counts

    def _oldest_unread(self, mailbox: str) -> int:
        row = self._connection.execute(
            "SELECT id FROM messages WHERE recipient = ? AND state < 4 ORDER BY id LIMIT 1", (mailbox,)
        ).fetchone()
        return row[0] if row else 0
