"""Receipts — the steps of messages as rows, for their senders: kept a day, each with its sequence id.

Owns the table `receipts`, writing and reading. A message's first receipt needs no row: its id is the message's id + 1,
and it is read from the message's row (FILED if `filed_id` says so, otherwise STORED). Not here: the steps themselves
(`MessageSteps`), transactions.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["KEPT_MS", "ReceiptRows", "receipts_after"]

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain

from mailroomd.model.announcement import Receipt
from mailroomd.model.page import Page
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.forgotten import record_forgotten
from mailroomd.storage.database.forward_queue import ForwardQueue
from mailroomd.storage.database.state_conditions import FILED, STORED

KEPT_MS = 24 * 3600 * 1000  # what the contract promises; also for responses
FORGET_SLICE = 500  # rows deleted in one transaction: a few milliseconds

_COLUMNS = "id, sender, message_id, recipient, state, timestamp_ms, acknowledged_by, reason"
_FIRST_STEP = f"id + 1, sender, id, recipient, CASE filed_id WHEN id + 1 THEN {FILED} ELSE {STORED} END, timestamp_ms"


class ReceiptRows:
    """Writes receipts.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        forward_queue: takes those for senders on other hosts, too.
    """

    def __init__(self, connection: sqlite3.Connection, forward_queue: ForwardQueue) -> None:
        self._connection = connection
        self._forward_queue = forward_queue

    def insert(self, receipts: Sequence[Receipt]) -> None:
        """Inserts receipts."""
        self._forward_queue.add_receipts(receipts)
        self._connection.executemany(
            f"INSERT INTO receipts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    receipt.id,
                    receipt.sender,
                    receipt.message_id,
                    receipt.recipient,
                    receipt.state.value,
                    receipt.timestamp_ms,
                    receipt.by,
                    receipt.reason,
                )
                for receipt in receipts
            ],
        )

    def keep_first(self, message_ids: Iterable[int], now_ms: int) -> None:
        """Makes rows of the first receipts of messages that are about to be deleted within their first day."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO receipts (id, sender, message_id, recipient, state, timestamp_ms)"
            f" SELECT {_FIRST_STEP} FROM messages WHERE id = ? AND filed_id <> -1 AND timestamp_ms >= ?",
            [(message_id, now_ms - KEPT_MS) for message_id in message_ids],
        )

    def senders_at(self, first_id: int, last_id: int) -> dict[str, None]:
        """Returns the senders of the receipts with these ids."""
        rows = self._connection.execute("SELECT sender FROM receipts WHERE id BETWEEN ? AND ?", (first_id, last_id))
        return dict.fromkeys(sender for (sender,) in rows)

    def delete_old_receipts(self, now_ms: int) -> bool:
        """Deletes a slice of the receipts that are past their retention; returns whether more are left."""
        deleted_ids = self._connection.execute(
            "DELETE FROM receipts WHERE id IN"
            " (SELECT id FROM receipts WHERE timestamp_ms < ? ORDER BY timestamp_ms LIMIT ?) RETURNING id",
            (now_ms - KEPT_MS, FORGET_SLICE),
        ).fetchall()
        record_forgotten(self._connection, (event_id for (event_id,) in deleted_ids))
        return len(deleted_ids) == FORGET_SLICE


def receipts_after(
    connection: sqlite3.Connection, senders: Sequence[str] | None, cursor: int, durable_id: int, limit: int
) -> Page[Receipt]:
    """Returns receipts after a cursor, in order; those for every sender if None is given.

    Args:
        durable_id: the high-water mark; nothing above it is returned.
        limit: of receipts.
    """
    of_senders = f"sender IN ({','.join('?' * len(senders))}) AND" if senders is not None else ""
    values = tuple(senders or ())
    # In this order: the first step of a message that is deleted meanwhile is read twice, not never.
    first_steps = connection.execute(
        f"SELECT {_FIRST_STEP}, '', '' FROM messages WHERE {of_senders} id >= ? AND id < ? AND filed_id <> -1"
        " ORDER BY id LIMIT ?",
        (*values, cursor, durable_id, limit),
    ).fetchall()
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM receipts WHERE {of_senders} id > ? AND id <= ? ORDER BY id LIMIT ?",
        (*values, cursor, durable_id, limit),
    ).fetchall()
    receipts = {
        receipt_id: Receipt(receipt_id, sender, message_id, recipient, DeliveryState(state), *rest)
        for receipt_id, sender, message_id, recipient, state, *rest in chain(first_steps, rows)
    }
    page = Page(receipts[receipt_id] for receipt_id in sorted(receipts)[:limit])
    return page.cut() if len(page) == limit else page
