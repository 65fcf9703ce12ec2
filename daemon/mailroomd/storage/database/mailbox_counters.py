"""MailboxCounters — total, unread and oldest unread message of each mailbox, kept in the transaction that changes them.

Owns the counters' columns in `mailboxes`, and a bounded memory of the mailboxes touched last. Not here: transactions
(`MessageStore`).
Invariant: after `write_counts`, the counters in the database equal a recount in the same transaction.
"""

__all__ = ["MailboxCounters"]

import sqlite3
from dataclasses import dataclass

from mailroomd.protocol.reports import MailboxCounted
from mailroomd.storage.database.state_conditions import UNREAD

MAX_KNOWN = 50_000  # mailboxes whose counters are remembered; reading them again costs a lookup each


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

    def count_new(self, mailbox: str, message_id: int) -> None:
        """Counts a new message."""
        counts = self._load(mailbox)
        counts.total += 1
        counts.unread += 1
        counts.oldest_unread_id = counts.oldest_unread_id or message_id

    def subtract_unread(self, mailbox: str, message_count: int) -> None:
        """Counts messages as read after their rows are changed; with 0, the counts are only reported again."""
        counts = self._load(mailbox)
        counts.unread -= message_count
        if message_count:
            counts.oldest_unread_id = self._oldest_unread(mailbox)

    def subtract_deleted(self, mailbox: str, total: int, unread: int) -> None:
        """Subtracts messages after their rows are deleted; `unread` of them were unread."""
        counts = self._load(mailbox)
        counts.total -= total
        self.subtract_unread(mailbox, unread)

    def counts_of(self, mailbox: str) -> MailboxCounted:
        """Returns the counts of a mailbox; the next `write_counts` reports them, too."""
        counts = self._load(mailbox)
        return MailboxCounted(mailbox, counts.total, counts.unread, counts.oldest_unread_id)

    def write_counts(self) -> list[MailboxCounted]:
        """Writes and returns the counts of the touched mailboxes."""
        touched = [self.counts_of(mailbox) for mailbox in self._touched]
        self._touched = set()
        self._connection.executemany(
            "INSERT INTO mailboxes (name, total, unread) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET total = excluded.total, unread = excluded.unread",
            [(counts.name, counts.total, counts.unread) for counts in touched],
        )
        return touched

    def reset(self) -> None:
        """Forgets everything: the transaction was rolled back."""
        self._counts = {}
        self._touched = set()

    def _load(self, mailbox: str) -> _Counts:
        self._touched.add(mailbox)
        counts = self._counts.get(mailbox)
        if counts is None:
            if len(self._counts) >= MAX_KNOWN:
                self._counts = {name: known for name, known in self._counts.items() if name in self._touched}
            row = self._connection.execute("SELECT total, unread FROM mailboxes WHERE name = ?", (mailbox,)).fetchone()
            total, unread = row or (0, 0)
            counts = self._counts[mailbox] = _Counts(total, unread, self._oldest_unread(mailbox) if unread else 0)
        return counts

    def _oldest_unread(self, mailbox: str) -> int:
        row = self._connection.execute(
            f"SELECT id FROM messages WHERE recipient = ? AND {UNREAD} ORDER BY id LIMIT 1",  # noqa: S608 - own text
            (mailbox,),
        ).fetchone()
        return row[0] if row else 0
