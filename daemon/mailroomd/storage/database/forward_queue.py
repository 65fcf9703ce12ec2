"""ForwardQueue — what waits for other hosts: messages of agents here, and receipts for agents there.

Owns the tables `forward_queue` (what a host has not confirmed), `departures` (messages for other hosts, and the run
that stored them) and `links` (how far was sent to each host). A row of the queue is written in the transaction that
stores its message or makes its step, and deleted only when the other host has reported it stored, or when its message
expired before it ever left. Works in the open transaction of `MessageStore`.
Not here: what arrives (`Arrivals`), what is published when (`core.forwarding.outgoing`), reading for the relay
(`forward_reading`).
Invariant: what certainly never left is at most what this run stored, above the position that was sent last.
"""

__all__ = ["ForwardQueue"]

import secrets
import sqlite3
from collections.abc import Iterable, Sequence

from mailroomd.model.announcement import Receipt
from mailroomd.model.names import has_host, host_of
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.operations import Confirm, GiveUp, Intend, Origin

RUN_BITS = 62  # SQLite's integers are signed
_INSERT = (
    "INSERT OR IGNORE INTO forward_queue (host, id, run, origin_run, origin_id, state, timestamp_ms, reason,"
    " size_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class ForwardQueue:
    """Keeps the queue.

    Args:
        connection: the writer's; its owner begins and ends the transactions.

    Attributes:
        run: of this process, a random number: a history that a restored backup has undone never had it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.run = secrets.randbits(RUN_BITS) | 1
        self._waiting_bytes: dict[str, int] = {}

    # -- what leaves ----------------------------------------------------------------------------------------------

    def waiting_bytes(self, host: str) -> int:
        """Returns the size of the messages that wait for a host."""
        size_bytes = self._waiting_bytes.get(host)
        if size_bytes is None:
            row = self._connection.execute("SELECT total(size_bytes) FROM forward_queue WHERE host = ?", (host,))
            size_bytes = self._waiting_bytes[host] = int(row.fetchone()[0])
        return size_bytes

    def forget_counts(self) -> None:
        """Forgets what was counted: the transaction was rolled back."""
        self._waiting_bytes = {}

    def add_message(self, message_id: int, recipient: str, size_bytes: int) -> None:
        """Adds a message for another host."""
        host = host_of(recipient)
        self._connection.execute(
            "INSERT INTO departures (id, host, run) VALUES (?, ?, ?)", (message_id, host, self.run)
        )
        self._connection.execute(_INSERT, (host, message_id, self.run, 0, 0, 0, 0, "", size_bytes))
        if host in self._waiting_bytes:
            self._waiting_bytes[host] += size_bytes

    def add_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Adds the receipts whose senders are on other hosts."""
        remote = [receipt for receipt in receipts if has_host(receipt.sender)]
        for receipt in remote:
            row = self._connection.execute(
                "SELECT host, run, origin_id FROM origins WHERE id = ?", (receipt.message_id,)
            ).fetchone()
            if row is not None and receipt.state is not DeliveryState.OVERDUE:  # the sender's host has the deadline
                host, run, origin_id = row
                values = (host, receipt.id, self.run, run, origin_id, receipt.state.value, receipt.timestamp_ms, "", 0)
                self._connection.execute(_INSERT, values)

    def add_receipt_of(
        self, origin: Origin, receipt_id: int, state: DeliveryState, timestamp_ms: int, reason: str = ""
    ) -> None:
        """Adds the first receipt for a message that arrives now, or the one that returns it."""
        values = (origin.host, receipt_id, self.run, origin.run, origin.id, state.value, timestamp_ms, reason, 0)
        self._connection.execute(_INSERT, values)

    def intend(self, intent: Intend) -> None:
        """Records that items up to a position leave."""
        self._connection.execute(
            "INSERT INTO links (host, sent_run, sent_id) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " sent_run = excluded.sent_run, sent_id = excluded.sent_id WHERE sent_id < excluded.sent_id",
            (intent.host, intent.run, intent.id),
        )

    def confirm(self, confirmed: Confirm) -> None:
        """Deletes what a host has stored."""
        for run, stored_id in confirmed.stored.items():
            self._delete(confirmed.host, "run = ? AND id <= ?", run, stored_id)

    def give_up(self, given_up: GiveUp) -> set[int]:
        """Deletes items that a host will never store; returns the ids of those that waited."""
        return {item_id for item_id in given_up.ids if self._delete(given_up.host, "id = ?", item_id)}

    def _delete(self, host: str, condition: str, *values: int) -> int:
        """Deletes rows of a host's queue; returns how many."""
        deleted = self._connection.execute(
            f"DELETE FROM forward_queue WHERE host = ? AND {condition} RETURNING size_bytes",  # noqa: S608 - own text
            (host, *values),
        ).fetchall()
        if host in self._waiting_bytes:
            self._waiting_bytes[host] -= sum(size_bytes for (size_bytes,) in deleted)
        return len(deleted)

    # -- what never leaves ----------------------------------------------------------------------------------------

    def may_expire(self, message_id: int) -> bool:
        """Returns whether a message for another host certainly never left, so that it may expire here."""
        row = self._connection.execute(
            "SELECT d.run, d.id > coalesce(l.sent_id, 0) FROM departures d LEFT JOIN links l ON l.host = d.host"
            " WHERE d.id = ?",
            (message_id,),
        ).fetchone()
        return row is not None and row[0] == self.run and bool(row[1])

    def remove_expired(self, message_ids: Iterable[int]) -> None:
        """Deletes messages that have expired here."""
        for message_id in message_ids:
            row = self._connection.execute("SELECT host FROM departures WHERE id = ?", (message_id,)).fetchone()
            if row is not None:
                self._delete(row[0], "id = ?", message_id)

    def forget_messages(self, message_ids: Sequence[int]) -> None:
        """Deletes what is known of the origins and departures of messages that are deleted."""
        for table in ("origins", "departures"):
            if self._connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():  # noqa: S608 - own text
                self._connection.executemany(
                    f"DELETE FROM {table} WHERE id = ?",  # noqa: S608
                    [(message_id,) for message_id in message_ids],
                )
