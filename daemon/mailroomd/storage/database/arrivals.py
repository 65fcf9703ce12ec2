"""Arrivals — what has come from other hosts: up to which position, and which message came from where.

Owns the tables `arrivals` (the highest id stored, by host and run) and `origins` (the position at its own host of each
message that came from another). Both are written in the transaction that stores the item. Also applies the receipts
that come back for messages of agents here. Works in the open transaction of `MessageStore`.
Not here: what leaves (`ForwardQueue`), the rule (`core.forwarding.position`).
Invariant: an item is stored once, and in the order of its host.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["Arrivals"]

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, groupby
from operator import attrgetter

from mailroomd.core.forwarding.position import Position, Verdict, judge
from mailroomd.model.announcement import Receipt
from mailroomd.model.names import host_of
from mailroomd.model.states import MESSAGE_STATES, DeliveryState
from mailroomd.protocol.operations import ForwardedReceipt, Origin
from mailroomd.protocol.reports import StatesAdvanced
from mailroomd.storage.database.damaged_rows import is_unread
from mailroomd.storage.database.mailbox_counters import MailboxCounters
from mailroomd.storage.database.receipts import ReceiptRows

RUNS_KEPT_MS = 30 * 24 * 3600 * 1000  # after its last item; a backup that is older sends again what is long here
_TIME_COLUMNS = {
    DeliveryState.FILED: "filed_ms",
    DeliveryState.OFFERED: "offered_ms",
    DeliveryState.READ: "read_ms",
    DeliveryState.EXPIRED: "read_ms",
    DeliveryState.RETURNED: "read_ms",
}


class Arrivals:
    """Keeps the positions.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
        counters: of the mailboxes.
        receipts: for the senders.
    """

    def __init__(self, connection: sqlite3.Connection, counters: MailboxCounters, receipts: ReceiptRows) -> None:
        self._connection = connection
        self._counters = counters
        self._receipts = receipts

    def judge(self, origin: Origin) -> Verdict:
        """Returns what becomes of an item."""
        return _judge(self._stored(origin.host, [origin]), origin)

    def advance(self, origin: Origin, now_ms: int) -> None:
        """Records that an item is stored, or returned."""
        self._connection.execute(
            "INSERT INTO arrivals (host, run, id, stored_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET id = excluded.id, stored_ms = excluded.stored_ms",
            (origin.host, origin.run, origin.id, now_ms),
        )

    def record_origin(self, message_id: int, origin: Origin) -> None:
        """Records where a message came from."""
        self._connection.execute(
            "INSERT INTO origins (id, host, run, origin_id) VALUES (?, ?, ?, ?)",
            (message_id, origin.host, origin.run, origin.id),
        )

    def forget_old_runs(self, now_ms: int) -> None:
        """Deletes positions that no host will name any more."""
        self._connection.execute("DELETE FROM arrivals WHERE stored_ms < ?", (now_ms - RUNS_KEPT_MS,))

    def _stored(self, host: str, origins: Iterable[Origin]) -> dict[int, int]:
        """Returns the highest id stored from a host, for the runs that items of it name."""
        runs = {run for origin in origins for run in (origin.run, origin.after_run)}
        rows = self._connection.execute(
            f"SELECT run, id FROM arrivals WHERE host = ? AND run IN ({','.join('?' * len(runs))})", (host, *runs)
        )
        return dict(rows)

    # -- receipts -------------------------------------------------------------------------------------------------

    def apply_receipts(
        self, first_id: int, items: Sequence[ForwardedReceipt], now_ms: int
    ) -> tuple[list[StatesAdvanced], dict[str, None]]:
        """Stores receipts from one other host, in order, up to the first gap.

        Returns:
            What moved on, and the senders to notify.
        """
        stored = self._stored(items[0].origin.host, (item.origin for item in items))
        reached: dict[int, Origin] = {}
        receipts: list[Receipt] = []
        for receipt_id, item in zip(count(first_id), items, strict=False):
            origin = item.origin
            verdict = _judge(stored, origin)
            if verdict is Verdict.GAP:
                break
            if verdict is Verdict.NEXT:
                stored[origin.run] = origin.id
                reached[origin.run] = origin
                receipt = self._apply(receipt_id, item)
                if receipt is not None:
                    receipts.append(receipt)
        for origin in reached.values():
            self.advance(origin, now_ms)
        self._receipts.insert(receipts)
        advanced = [
            StatesAdvanced(state, [receipt.message_id for receipt in of_state])
            for state, of_state in groupby(receipts, attrgetter("state"))
        ]
        return advanced, dict.fromkeys(receipt.sender for receipt in receipts)

    def _apply(self, receipt_id: int, item: ForwardedReceipt) -> Receipt | None:
        """Moves a message forward; returns its receipt, None if it is unknown or was there before."""
        row = self._connection.execute(
            "SELECT m.sender, m.recipient, m.state FROM messages m JOIN departures d ON d.id = m.id"
            " WHERE m.id = ? AND d.run = ? AND d.host = ?",
            (item.message_id, item.message_run, item.origin.host),
        ).fetchone()
        if row is None or item.state not in MESSAGE_STATES:
            return None
        sender, recipient, state_before = row
        state = DeliveryState(item.state)
        if not is_unread(state_before) or state <= state_before:
            return None
        is_end = not state.is_unread
        self._connection.execute(
            f"UPDATE messages SET state = ?, {_TIME_COLUMNS[state]} = ? WHERE id = ?",
            (state.value, item.timestamp_ms, item.message_id),
        )
        if item.reason:
            self._connection.execute("UPDATE departures SET reason = ? WHERE id = ?", (item.reason, item.message_id))
        self._counters.subtract_unread(recipient, int(is_end))
        assert host_of(recipient) == item.origin.host
        return Receipt(receipt_id, sender, item.message_id, recipient, state, item.timestamp_ms, reason=item.reason)


def _judge(stored: Mapping[int, int], origin: Origin) -> Verdict:
    return judge(stored, Position(origin.after_run, origin.after_id), Position(origin.run, origin.id))
