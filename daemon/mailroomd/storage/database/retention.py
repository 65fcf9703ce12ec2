"""Retention — deletes messages: those that were read long ago, in slices, and those that a mailbox's owner clears.

Owns the DELETEs of messages, with their counters and their entries in the full-text index, in the open transaction of
its caller, and the queries for expired messages. Not here: when, and the inbox files (the command-queue).
Invariant: only clearing its mailbox deletes an unread message; its file is then listed until it is gone.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["Retention"]

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from mailroomd.protocol.operations import Clear, Cleared
from mailroomd.storage.database.damaged_rows import has_ended
from mailroomd.storage.database.forgotten import record_forgotten
from mailroomd.storage.database.forward_queue import ForwardQueue
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.receipts import ReceiptRows
from mailroomd.storage.database.search_index import SearchIndex
from mailroomd.storage.database.state_conditions import ENDED, KNOWN_ENDED, KNOWN_UNREAD, UNREAD

_ENDS_HERE = (  # a message that may have left for another host expires there
    "(instr(recipient, ':') = 0 OR EXISTS (SELECT 1 FROM departures d LEFT JOIN links l ON l.host = d.host"
    " WHERE d.id = messages.id AND d.run = ? AND d.id > coalesce(l.sent_id, 0)))"
)
SLICE_CHARS = 256 << 10  # of content in one slice, beyond its last message: some 20 ms


class _Row(NamedTuple):
    mailbox: str
    id: int
    state: int


class Retention:
    """Deletes messages.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        counters: of the mailboxes.
        receipts: which outlive their messages.
        search: the full-text index.
        forward_queue: knows the messages from and for other hosts.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        counters: MailboxCounters,
        receipts: ReceiptRows,
        search: SearchIndex,
        forward_queue: ForwardQueue,
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._receipts = receipts
        self._search = search
        self._forward_queue = forward_queue

    def delete_ended(self, before_ms: int, limit: int, now_ms: int) -> list[tuple[str, int]]:
        """Deletes a slice of the read and expired messages from before a moment; returns (mailbox, id) of each."""
        rows = self._slice(f"{ENDED} AND {KNOWN_ENDED} AND timestamp_ms < ? ORDER BY timestamp_ms", (before_ms,), limit)
        rows.sort(key=lambda row: row.id)
        self._delete([row.id for row in rows], now_ms)
        record_forgotten(self._connection, (row.id for row in rows))
        for mailbox, count in Counter(row.mailbox for row in rows).items():
            self._counters.subtract_deleted(mailbox, count, 0)
        return [(row.mailbox, row.id) for row in rows]

    def clear(self, clear: Clear, newest_id: int, now_ms: int) -> Cleared:
        """Deletes a slice of a mailbox, read or not, with ids up to `newest_id` at most."""
        through_id = min(clear.through_id, newest_id)
        rows = self._slice("recipient = ? AND id <= ? ORDER BY id", (clear.mailbox, through_id), clear.limit)
        deleted = [row.id for row in rows]
        unread = [row.id for row in rows if not has_ended(row.state)]
        self._delete(deleted, now_ms)
        self._connection.executemany(
            "INSERT OR REPLACE INTO cleared_files (id, mailbox) VALUES (?, ?)",
            [(message_id, clear.mailbox) for message_id in unread],
        )
        if rows:
            self._counters.subtract_deleted(clear.mailbox, len(deleted), len(unread))
        return Cleared(deleted, through_id, has_more=bool(rows))

    def forget_agents(self, before_ms: int, limit: int) -> int:
        """Deletes a slice of the empty mailboxes of agents last seen before a moment; returns how many."""
        return self._connection.execute(
            "DELETE FROM mailboxes WHERE name IN"
            " (SELECT name FROM mailboxes WHERE total = 0 AND last_seen_ms < ? LIMIT ?)",
            (before_ms, limit),
        ).rowcount

    def expired(self, now_ms: int, limit: int) -> list[int]:
        """Returns the ids of unread messages whose time to live has run out, up to a limit."""
        rows = self._connection.execute(
            f"SELECT id FROM messages WHERE ttl_ms > 0 AND {UNREAD} AND {KNOWN_UNREAD} AND {_ENDS_HERE}"
            " AND timestamp_ms + ttl_ms <= ? ORDER BY timestamp_ms + ttl_ms LIMIT ?",
            (self._forward_queue.run, now_ms, limit),
        )
        return [message_id for (message_id,) in rows]

    def next_expiry_ms(self) -> int | None:
        """Returns when the next unread message expires, milliseconds since 1970; None if none will."""
        row = self._connection.execute(
            f"SELECT timestamp_ms + ttl_ms FROM messages WHERE ttl_ms > 0 AND {UNREAD} AND {KNOWN_UNREAD}"
            f" AND {_ENDS_HERE} ORDER BY timestamp_ms + ttl_ms LIMIT 1",
            (self._forward_queue.run,),
        ).fetchone()
        return row[0] if row else None

    def _slice(self, where: str, values: Sequence[Any], limit: int) -> list[_Row]:
        """Returns messages up to a limit, fewer if they are large: removing them from the index takes time."""
        rows: list[_Row] = []
        room_chars = SLICE_CHARS
        sql = f"SELECT recipient, id, state, length(content) FROM messages WHERE {where} LIMIT ?"
        with closing(self._connection.execute(sql, (*values, limit))) as cursor:
            for mailbox, message_id, state, chars in cursor:
                rows.append(_Row(mailbox, message_id, state))
                room_chars -= chars
                if room_chars <= 0:
                    break
        return rows

    def _delete(self, message_ids: Sequence[int], now_ms: int) -> None:
        self._receipts.keep_first(message_ids, now_ms)
        self._forward_queue.forget_messages(message_ids)
        self._search.remove(message_ids)
        self._connection.executemany("DELETE FROM messages WHERE id = ?", [(message_id,) for message_id in message_ids])
