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
from contextlib import closing
from typing import Any, NamedTuple

from mailroomd.model.ids import MS_SHIFT
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.commands import MailboxCleared, WriteClear
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.receipts import ReceiptRows
from mailroomd.storage.database.search_index import SearchIndex

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
    """

    def __init__(
        self, connection: sqlite3.Connection, counters: MailboxCounters, receipts: ReceiptRows, search: SearchIndex
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._receipts = receipts
        self._search = search

    def remove_ended(self, before_ms: int, limit: int, now_ms: int) -> list[tuple[str, int]]:
        """Deletes a slice of the read and expired messages from before a moment; returns (mailbox, id) of them."""
        rows = self._slice("state >= 4 AND id < ?", (max(0, before_ms) << MS_SHIFT,), limit)
        self._delete([one.id for one in rows], now_ms)
        for mailbox, count in Counter(one.mailbox for one in rows).items():
            self._counters.remove(mailbox, count, 0)
        return [(one.mailbox, one.id) for one in rows]

    def clear(self, command: WriteClear, now_ms: int) -> MailboxCleared:
        """Deletes a slice of a mailbox, whatever its state."""
        rows = self._slice("recipient = ? AND id <= ?", (command.agent, command.through_id), command.limit)
        numbers = [one.id for one in rows]
        unread = [one.id for one in rows if one.state < DeliveryState.READ]
        self._delete(numbers, now_ms)
        self._connection.executemany(
            "INSERT OR REPLACE INTO cleared_files (id, mailbox) VALUES (?, ?)",
            [(number, command.agent) for number in unread],
        )
        if rows:
            self._counters.remove(command.agent, len(numbers), len(unread))
        return MailboxCleared(command.id, numbers, more=bool(rows))

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

    def _slice(self, where: str, values: Sequence[Any], limit: int) -> list[_Row]:
        """Returns messages, at most so many, and fewer where they are large: taking them out of the index costs."""
        found: list[_Row] = []
        room = SLICE_CHARS
        sql = f"SELECT recipient, id, state, length(content) FROM messages WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608
        with closing(self._connection.execute(sql, (*values, limit))) as rows:
            for mailbox, number, state, chars in rows:
                found.append(_Row(mailbox, number, state))
                room -= chars
                if room <= 0:
                    break
        return found

    def _delete(self, message_ids: Sequence[int], now_ms: int) -> None:
        self._receipts.keep_first(message_ids, now_ms)
        self._search.remove(message_ids)
        self._connection.executemany("DELETE FROM messages WHERE id = ?", [(number,) for number in message_ids])
