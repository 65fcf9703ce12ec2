"""Receipts — the steps of messages as rows, for their senders: kept a day, each at its place in the one order.

Owns the table `receipts`, both ways on one screen. A message's first step needs no row: its receipt stands at the
number behind the message's own, FILED where `filed_id` says so, else STORED, and is read from the message's row. Not
here: the steps themselves (`MessageSteps`), transactions.
"""

__all__ = ["KEPT_MS", "ReceiptRows", "receipts_after"]

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain

from mailroomd.model.announcement import Receipt
from mailroomd.model.ids import MS_SHIFT
from mailroomd.model.page import Page
from mailroomd.model.states import DeliveryState

KEPT_MS = 24 * 3600 * 1000  # what the contract promises; also for command responses
FORGET_SLICE = 500  # rows forgotten in one transaction: a few milliseconds

_FIRST_STEP = "id + 1, sender, id, recipient, CASE filed_id WHEN id + 1 THEN 2 ELSE 1 END, timestamp_ms"


class ReceiptRows:
    """Writes receipts.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, receipts: Iterable[Receipt]) -> None:
        """Writes receipts."""
        self._connection.executemany(
            "INSERT INTO receipts (id, sender, message_id, recipient, state, timestamp_ms) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (one.id, one.sender, one.message_id, one.recipient, one.state.value, one.timestamp_ms)
                for one in receipts
            ],
        )

    def keep_first(self, message_ids: Iterable[int], now_ms: int) -> None:
        """Makes rows of the first receipts of messages that are about to be deleted, where a day is not over yet."""
        oldest = max(0, now_ms - KEPT_MS) << MS_SHIFT
        self._connection.executemany(
            "INSERT OR IGNORE INTO receipts (id, sender, message_id, recipient, state, timestamp_ms)"  # noqa: S608
            f" SELECT {_FIRST_STEP} FROM messages WHERE id = ? AND filed_id <> -1",
            [(number,) for number in message_ids if number >= oldest],
        )

    def forget_old(self, now_ms: int) -> bool:
        """Forgets a slice of the receipts that are past their time; returns whether more are left."""
        oldest = max(0, now_ms - KEPT_MS) << MS_SHIFT
        forgotten = self._connection.execute(
            "DELETE FROM receipts WHERE id IN (SELECT id FROM receipts WHERE id < ? ORDER BY id LIMIT ?)",
            (oldest, FORGET_SLICE),
        ).rowcount
        return forgotten == FORGET_SLICE


def receipts_after(
    connection: sqlite3.Connection, senders: Sequence[str] | None, cursor: int, mark: int, limit: int
) -> Page[Receipt]:
    """Returns receipts above the cursor, in their order; for every sender where None is given.

    Args:
        mark: nothing above it is returned.
        limit: at most so many.
    """
    whose = f"sender IN ({','.join('?' * len(senders))}) AND" if senders is not None else ""
    values = tuple(senders or ())
    # In this order: the first step of a message that is deleted meanwhile is found twice, not never.
    first_steps = connection.execute(
        f"SELECT {_FIRST_STEP}"  # noqa: S608 - own text
        f" FROM messages WHERE {whose} id >= ? AND id < ? AND filed_id <> -1 ORDER BY id LIMIT ?",
        (*values, cursor, mark, limit),
    ).fetchall()
    rows = connection.execute(
        f"SELECT id, sender, message_id, recipient, state, timestamp_ms FROM receipts"  # noqa: S608
        f" WHERE {whose} id > ? AND id <= ? ORDER BY id LIMIT ?",
        (*values, cursor, mark, limit),
    ).fetchall()
    found = {
        number: Receipt(number, sender, message_id, recipient, DeliveryState(state), timestamp_ms)
        for number, sender, message_id, recipient, state, timestamp_ms in chain(first_steps, rows)
    }
    batch = Page(found[number] for number in sorted(found)[:limit])
    return batch.cut() if len(batch) == limit else batch
