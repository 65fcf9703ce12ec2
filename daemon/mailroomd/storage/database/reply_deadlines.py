"""ReplyDeadlines — the messages whose senders wait for an answer until a moment, and the receipts if none comes.

Owns the table `deadlines`: a row for each message with `reply_by` that nobody has answered yet. The transaction that
stores the message writes it; the one that stores the answer, or the receipt OVERDUE, deletes it. So it outlives its
message, which may be read, expired or deleted long before. Works in the open transaction of `MessageStore`.
Not here: when to look (`command_queue.due_mail`).
Invariant: each such message gets at most one receipt OVERDUE, and none if an answer was stored before it.
"""

__all__ = ["ReplyDeadlines"]

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import count

from mailroomd.model.announcement import Receipt
from mailroomd.model.message import Draft
from mailroomd.model.names import has_host
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.receipts import ReceiptRows


class ReplyDeadlines:
    """Keeps the deadlines.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        receipts: for the senders.
    """

    def __init__(self, connection: sqlite3.Connection, receipts: ReceiptRows) -> None:
        self._connection = connection
        self._receipts = receipts

    def record_new(self, mail: Iterable[tuple[int, Draft]], now_ms: int) -> None:
        """Opens the deadlines of new messages, by id, and ends those that they answer."""
        for message_id, draft in mail:
            if draft.in_reply_to:
                self._end_answered(draft, now_ms)
            if draft.reply_by_ms and not has_host(draft.sender):  # otherwise its host has the deadline
                self._connection.execute(
                    "INSERT INTO deadlines (id, sender, recipient, reply_by_ms) VALUES (?, ?, ?, ?)",
                    (message_id, draft.sender, draft.recipient, draft.reply_by_ms),
                )

    def overdue(self, now_ms: int, limit: int) -> list[int]:
        """Returns the ids of messages whose deadline has passed without an answer, up to a limit."""
        rows = self._connection.execute(
            "SELECT id FROM deadlines WHERE reply_by_ms <= ? ORDER BY reply_by_ms LIMIT ?", (now_ms, limit)
        )
        return [message_id for (message_id,) in rows]

    def next_ms(self) -> int | None:
        """Returns the next deadline, milliseconds since 1970; None if there is none."""
        return self._connection.execute("SELECT min(reply_by_ms) FROM deadlines").fetchone()[0]

    def report_overdue(self, first_id: int, message_ids: Sequence[int], now_ms: int) -> list[Receipt]:
        """Ends deadlines that are still open, each with a receipt for its sender; returns the receipts."""
        rows: list[tuple[int, str, str]] = [
            row for message_id in dict.fromkeys(message_ids) if (row := self._deadline(message_id)) is not None
        ]
        receipts = [
            Receipt(receipt_id, sender, message_id, recipient, DeliveryState.OVERDUE, now_ms)
            for receipt_id, (message_id, sender, recipient) in zip(count(first_id), rows, strict=False)
        ]
        self._receipts.insert(receipts)
        for message_id, _, _ in rows:
            self._end(message_id)
            self._connection.execute("UPDATE messages SET overdue_ms = ? WHERE id = ?", (now_ms, message_id))
        return receipts

    def _end_answered(self, answer: Draft, now_ms: int) -> None:
        """Ends the deadline of the message that this one answers, if it is from its recipient and to its sender."""
        row = self._deadline(answer.in_reply_to)
        if row is None:
            return
        _, sender, recipient = row
        if self._is_same(answer.sender, recipient, now_ms) and self._is_same(answer.recipient, sender, now_ms):
            self._end(answer.in_reply_to)

    def _deadline(self, message_id: int) -> tuple[int, str, str] | None:
        return self._connection.execute(
            "SELECT id, sender, recipient FROM deadlines WHERE id = ?", (message_id,)
        ).fetchone()

    def _end(self, message_id: int) -> None:
        self._connection.execute("DELETE FROM deadlines WHERE id = ?", (message_id,))

    def _is_same(self, name: str, other: str, now_ms: int) -> bool:
        """Returns whether two names lead to the same agent."""
        return name == other or self._agent_of(name, now_ms) == self._agent_of(other, now_ms)

    def _agent_of(self, name: str, now_ms: int) -> str:
        row = self._connection.execute(
            "SELECT agent FROM aliases WHERE session = ? AND expires_ms > ?", (name, now_ms)
        ).fetchone()
        return row[0] if row else name
