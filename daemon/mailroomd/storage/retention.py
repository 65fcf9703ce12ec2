"""Retention — deletes messages: what was read long ago, in slices, and what its mailbox's owner clears away.

Owns the DELETEs of messages, with their counters and their place in the full-text index, in the open transaction of
its caller; and the question which messages' time to live ran out. Not here: when, and the inbox files (the
command-queue). Invariant: an unread message is deleted only by the clearing of its mailbox; its file is then on a
list until it is gone.
"""

__all__ = ["Retention"]

import sqlite3
from collections import Counter
from collections.abc import Sequence

from mailroomd.model.commands import MailboxCleared, WriteClear
from mailroomd.model.ids import MS_SHIFT
from mailroomd.model.states import DeliveryState
from mailroomd.storage.mailbox_counters import MailboxCounters
from mailroomd.storage.search_index import SearchIndex


class Retention:
    """Deletes messages.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        counters: of the mailboxes.
        search: the full-text index.
    """

    def __init__(self, connection: sqlite3.Connection, counters: MailboxCounters, search: SearchIndex) -> None:
        self._connection = connection
        self._counters = counters
        self._search = search

    def remove_ended(self, before_ms: int, limit: int) -> list[tuple[str, int]]:
        """Deletes a slice of the read and expired messages from before a moment; returns (mailbox, id) of them."""
        rows: list[tuple[str, int]] = self._connection.execute(
            "SELECT recipient, id FROM messages WHERE state >= 4 AND id < ? ORDER BY id LIMIT ?",
            (max(0, before_ms) << MS_SHIFT, limit),
        ).fetchall()
        self._delete([number for _, number in rows])
        for mailbox, count in Counter(mailbox for mailbox, _ in rows).items():
            self._counters.remove(mailbox, count, 0)
        return rows

    def clear(self, command: WriteClear) -> MailboxCleared:
        """Deletes a slice of a mailbox, whatever its state."""
        rows: list[tuple[int, int]] = self._connection.execute(
            "SELECT id, state FROM messages WHERE recipient = ? AND id <= ? ORDER BY id LIMIT ?",
            (command.agent, command.through_id, command.limit),
        ).fetchall()
        numbers = [number for number, _ in rows]
        unread = [number for number, state in rows if state < DeliveryState.READ]
        self._delete(numbers)
        self._connection.executemany(
            "INSERT OR REPLACE INTO cleared_files (id, mailbox) VALUES (?, ?)",
            [(number, command.agent) for number in unread],
        )
        self._counters.remove(command.agent, len(numbers), len(unread))
        return MailboxCleared(command.id, numbers, len(rows) == command.limit)

    def forget_agents(self, before_ms: int, limit: int) -> int:
        """Forgets a slice of the empty mailboxes whose agents were last here before a moment; returns how many."""
        return self._connection.execute(
            "DELETE FROM mailboxes WHERE name IN"
            " (SELECT name FROM mailboxes WHERE total = 0 AND last_seen_ms < ? LIMIT ?)",
            (before_ms, limit),
        ).rowcount

    def expired(self, now_ms: int, limit: int) -> list[int]:
        """Returns ids of unread messages whose time to live has run out, at most so many."""
        rows = self._connection.execute(
            "SELECT id FROM messages WHERE ttl_ms > 0 AND state < 4 AND timestamp_ms + ttl_ms <= ?"
            " ORDER BY timestamp_ms + ttl_ms LIMIT ?",
            (now_ms, limit),
        )
        return [number for (number,) in rows]

    def next_expiry_ms(self) -> int | None:
        """Returns when the next unread message's time to live runs out, milliseconds since 1970; None if none will."""
        row = self._connection.execute(
            "SELECT timestamp_ms + ttl_ms FROM messages WHERE ttl_ms > 0 AND state < 4"
            " ORDER BY timestamp_ms + ttl_ms LIMIT 1"
        ).fetchone()
        return row[0] if row else None

    def _delete(self, message_ids: Sequence[int]) -> None:
        self._search.remove(message_ids)
        self._connection.executemany("DELETE FROM messages WHERE id = ?", [(number,) for number in message_ids])
