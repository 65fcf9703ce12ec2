"""MessageSteps — moves stored messages from state to state, with a receipt for each step.

Owns the UPDATEs of `state` after the commit of a message, in the open transaction of `MessageStore`. The receipt of
each step gets the next id of its command. A step is made once, so a command that is received twice changes nothing the
second time. A row with a state that does not exist is unread to its recipient, and to nobody else. Not here: the table
of transitions (`model.states`).
Invariant: a state only moves forward; a message that is read or expired stays so.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["MessageSteps"]

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

from mailroomd.model.announcement import Receipt
from mailroomd.model.names import has_host
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.operations import GiveUp
from mailroomd.storage.database.damaged_rows import has_ended, is_unread
from mailroomd.storage.database.forward_queue import ForwardQueue
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.receipts import ReceiptRows
from mailroomd.storage.database.responses import ResponseRows
from mailroomd.storage.database.state_conditions import EXPIRED, FILED, OFFERED, READ, RETURNED

_END = (
    "UPDATE messages SET state = {state}, read_ms = ?, acknowledged_by = ?, file_error = '', team_error = ''"
    " WHERE id = ?"
)


class _Row(NamedTuple):
    recipient: str
    sender: str
    state: int


class MessageSteps:
    """Makes steps.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        counters: of the mailboxes.
        receipts: for the senders.
        responses: which may be offered, too.
        forward_queue: messages for other hosts expire here only if they never left.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        counters: MailboxCounters,
        receipts: ReceiptRows,
        responses: ResponseRows,
        forward_queue: ForwardQueue,
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._receipts = receipts
        self._responses = responses
        self._forward_queue = forward_queue

    def mark_read(
        self, first_id: int, mailbox: str, message_ids: Sequence[int], now_ms: int, by: str = ""
    ) -> tuple[list[int], dict[str, None]]:
        """Marks messages read.

        Args:
            first_id: of the receipts.
            mailbox: where the messages are; others are left alone.
            message_ids: of the messages.
            now_ms: when they were read, in milliseconds since 1970.
            by: who acknowledges them in the recipient's place, "" for the recipient.

        Returns:
            The ids of those that are in this mailbox, read before or now, and the senders to notify.
        """
        rows = [(message_id, row) for message_id, row in self._rows(message_ids) if row.recipient == mailbox]
        changed = [(message_id, row) for message_id, row in rows if not has_ended(row.state)]
        self._connection.executemany(_END.format(state=READ), [(now_ms, by, message_id) for message_id, _ in changed])
        if rows:  # even if none is changed: the command may be repeated because its outcomes were lost
            self._counters.subtract_unread(mailbox, len(changed))
        self._write_receipts(first_id, changed, DeliveryState.READ, now_ms, by)
        senders = dict.fromkeys(row.sender for _, row in rows)  # all of them, for the same reason
        return [message_id for message_id, _ in rows], senders

    def mark_offered(self, first_id: int, mailbox: str, ids: Sequence[int], offered_ms: int) -> dict[str, None]:
        """Marks messages or responses of a mailbox offered; returns the senders to notify."""
        changed: list[tuple[int, _Row]] = []
        for item_id in dict.fromkeys(ids):
            row = self._row(item_id)
            if row is None:
                self._responses.mark_offered(item_id, mailbox)
            elif row.recipient == mailbox and row.state in (DeliveryState.STORED, DeliveryState.FILED):
                changed.append((item_id, row))
        self._connection.executemany(
            f"UPDATE messages SET state = {OFFERED}, offered_ms = ? WHERE id = ?",
            [(offered_ms, message_id) for message_id, _ in changed],
        )
        return self._write_receipts(first_id, changed, DeliveryState.OFFERED, offered_ms)

    def mark_expired(
        self, first_id: int, message_ids: Sequence[int], now_ms: int
    ) -> tuple[dict[str, list[int]], dict[str, None]]:
        """Ends messages whose time to live ran out unread; returns their ids by mailbox, and the senders to notify."""
        changed = [
            (message_id, row)
            for message_id, row in self._rows(message_ids)
            if is_unread(row.state) and (not has_host(row.recipient) or self._forward_queue.may_expire(message_id))
        ]
        ends = [(now_ms, "", message_id) for message_id, _ in changed]
        self._connection.executemany(_END.format(state=EXPIRED), ends)
        self._forward_queue.remove_expired(message_id for message_id, row in changed if has_host(row.recipient))
        expired: dict[str, list[int]] = {}
        for message_id, row in changed:
            expired.setdefault(row.recipient, []).append(message_id)
        for mailbox, expired_ids in expired.items():
            self._counters.subtract_unread(mailbox, len(expired_ids))
        return expired, self._write_receipts(first_id, changed, DeliveryState.EXPIRED, now_ms)

    def mark_returned(self, first_id: int, given_up: GiveUp, now_ms: int) -> tuple[list[int], dict[str, None]]:
        """Gives messages back to their senders that wait for a host which is gone, and forgets what waits for it.

        A message that the host has reported as stored keeps its state.

        Returns:
            The ids of the messages that are returned, now or before, and the senders to notify.
        """
        waiting = self._forward_queue.give_up(given_up)
        rows = [(message_id, row) for message_id, row in self._rows(given_up.ids) if has_host(row.recipient)]
        changed = [
            (message_id, row) for message_id, row in rows if message_id in waiting and row.state == DeliveryState.STORED
        ]
        ends = [(now_ms, "", message_id) for message_id, _ in changed]
        self._connection.executemany(_END.format(state=RETURNED), ends)
        self._connection.executemany(
            "UPDATE departures SET reason = ? WHERE id = ?",
            [(given_up.reason, message_id) for message_id, _ in changed],
        )
        for _, row in changed:
            self._counters.subtract_unread(row.recipient, 1)
        senders = self._write_receipts(first_id, changed, DeliveryState.RETURNED, now_ms, reason=given_up.reason)
        before = [(message_id, row) for message_id, row in rows if row.state == DeliveryState.RETURNED]
        returned_ids = [message_id for message_id, _ in changed + before]
        return returned_ids, senders | dict.fromkeys(row.sender for _, row in before)

    def mark_filed(self, first_id: int, message_ids: Sequence[int], now_ms: int) -> dict[str, None]:
        """Records that delayed files are written; returns the senders of messages that step from STORED to FILED."""
        late = [(message_id, row) for message_id, row in self._rows(message_ids) if is_unread(row.state)]
        self._connection.executemany(
            f"UPDATE messages SET file_error = '', filed_ms = ?, state = max(state, {FILED}) WHERE id = ?",
            [(now_ms, message_id) for message_id, _ in late],
        )
        stored = [(message_id, row) for message_id, row in late if row.state == DeliveryState.STORED]
        self._connection.executemany(
            "UPDATE messages SET filed_id = ? WHERE id = ? AND filed_id = 0",
            [(first_id + index, message_id) for index, (message_id, _) in enumerate(stored)],
        )
        return self._write_receipts(first_id, stored, DeliveryState.FILED, now_ms)

    def _write_receipts(
        self,
        first_id: int,
        steps: Iterable[tuple[int, _Row]],
        state: DeliveryState,
        now_ms: int,
        by: str = "",
        reason: str = "",
    ) -> dict[str, None]:
        receipts = [
            Receipt(receipt_id, row.sender, message_id, row.recipient, state, now_ms, by, reason)
            for receipt_id, (message_id, row) in zip(count(first_id), steps, strict=False)
        ]
        self._receipts.insert(receipts)
        return dict.fromkeys(receipt.sender for receipt in receipts)

    def _row(self, message_id: int) -> _Row | None:
        row = self._connection.execute(
            "SELECT recipient, sender, state FROM messages WHERE id = ?", (message_id,)
        ).fetchone()
        return _Row(*row) if row else None

    def _rows(self, message_ids: Iterable[int]) -> list[tuple[int, _Row]]:
        """Returns the messages that exist, each once."""
        return [(message_id, row) for message_id in dict.fromkeys(message_ids) if (row := self._row(message_id))]
