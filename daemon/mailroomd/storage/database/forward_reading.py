"""ForwardReading — the relay's view of the database: what waits for which host, and what has come from it.

Owns the queries of one reading connection. Not here: writing (`ForwardQueue`, `Arrivals`).
"""

__all__ = ["ForwardReading", "WaitingMessage", "WaitingReceipt"]

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mailroomd.core.forwarding.outgoing import Row
from mailroomd.core.forwarding.position import BEGINNING, Position
from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState
from mailroomd.storage.database.connection import DamagedRow, open_archive
from mailroomd.storage.database.damaged_rows import set_aside
from mailroomd.storage.database.rows import MESSAGE_COLUMNS, message_of

ROW_BYTES = 200  # of an item beside its content
_ITEM_COLUMNS = "q.id, q.run, q.origin_run, q.origin_id, q.state, q.timestamp_ms, q.reason"


class WaitingMessage(NamedTuple):
    """A message for another host."""

    position: Position
    message: Message


class WaitingReceipt(NamedTuple):
    """A receipt for a message of another host."""

    position: Position
    message: Position
    state: int
    timestamp_ms: int
    reason: str


class ForwardReading:
    """Reads the queue.

    Args:
        state_dir: where `mailroom.db` is.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, state_dir: Path) -> None:
        self._connection = open_archive(state_dir)

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def waiting_hosts(self) -> list[str]:
        """Returns the hosts that something waits for."""
        return [host for (host,) in self._connection.execute("SELECT DISTINCT host FROM forward_queue")]

    def backlog(self) -> tuple[int, int]:
        """Returns how many items wait for other hosts, and the id of the oldest; 0 if there are none."""
        row = self._connection.execute("SELECT count(*), coalesce(min(id), 0) FROM forward_queue").fetchone()
        return row[0], row[1]

    def waiting(self) -> dict[str, tuple[int, int]]:
        """Returns how many messages wait for each host, and their size in bytes."""
        rows = self._connection.execute(
            "SELECT host, count(*), total(size_bytes) FROM forward_queue WHERE origin_run = 0 GROUP BY host"
        )
        return {host: (count, int(size_bytes)) for host, count, size_bytes in rows}

    def sent(self, host: str) -> Position:
        """Returns the position that was sent last."""
        row = self._connection.execute("SELECT sent_run, sent_id FROM links WHERE host = ?", (host,)).fetchone()
        return Position(*row) if row else BEGINNING

    def rows(self, host: str, after_id: int, durable_id: int, limit: int) -> list[Row]:
        """Returns what waits for a host after an id, in order, up to the high-water mark."""
        rows = self._connection.execute(
            "SELECT run, id, size_bytes FROM forward_queue WHERE host = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?",
            (host, after_id, durable_id, limit),
        )
        return [Row(Position(run, item_id), ROW_BYTES + size) for run, item_id, size in rows]

    def items(self, host: str, ids: Iterable[int]) -> list[WaitingMessage | WaitingReceipt]:
        """Returns items with their content. A message that is gone, or whose row is damaged, is left out."""
        found: list[WaitingMessage | WaitingReceipt] = []
        for item_id in ids:
            row = self._connection.execute(
                f"SELECT {_ITEM_COLUMNS} FROM forward_queue q WHERE q.host = ? AND q.id = ?",  # noqa: S608 - own text
                (host, item_id),
            ).fetchone()
            if row is None:
                continue
            _, run, origin_run, origin_id, state, timestamp_ms, reason = row
            position = Position(run, item_id)
            if origin_run:
                message = Position(origin_run, origin_id)
                state = self._first_state(item_id) if state == DeliveryState.FILED else state
                found.append(WaitingReceipt(position, message, state, timestamp_ms, reason))
            elif (waiting := self._message(item_id)) is not None:
                found.append(WaitingMessage(position, waiting))
        return found

    def confirms(self, host: str, stored: Mapping[int, int]) -> bool:
        """Returns whether a report confirms anything that still waits."""
        return any(
            self._connection.execute(
                "SELECT 1 FROM forward_queue WHERE host = ? AND run = ? AND id <= ? LIMIT 1", (host, run, stored_id)
            ).fetchone()
            for run, stored_id in stored.items()
        )

    def stored(self, host: str, runs: Iterable[int]) -> dict[int, int]:
        """Returns up to which id everything from a host is stored, by run; 0 for a run that is not known."""
        found: dict[int, int] = {}
        for run in runs:
            row = self._connection.execute("SELECT id FROM arrivals WHERE host = ? AND run = ?", (host, run)).fetchone()
            found[run] = row[0] if row else 0
        return found

    def id_at(self, host: str, message_id: int) -> int:
        """Returns the id that a message has at a host: 0 if it did not come from there."""
        row = self._connection.execute(
            "SELECT origin_id FROM origins WHERE id = ? AND host = ?", (message_id, host)
        ).fetchone()
        return row[0] if row else 0

    def id_here(self, host: str, origin_id: int) -> int:
        """Returns the id that a message of a host has here; 0 if it did not come here."""
        row = self._connection.execute(
            "SELECT max(id) FROM origins WHERE host = ? AND origin_id = ?", (host, origin_id)
        ).fetchone()
        return row[0] or 0

    def _first_state(self, receipt_id: int) -> int:
        """Returns FILED, or STORED for the first receipt of a message whose file is not written yet."""
        row = self._connection.execute("SELECT filed_id FROM messages WHERE id = ?", (receipt_id - 1,)).fetchone()
        is_delayed = row is not None and row[0] != receipt_id
        return (DeliveryState.STORED if is_delayed else DeliveryState.FILED).value

    def _message(self, message_id: int) -> Message | None:
        row = self._connection.execute(
            f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE id = ?",  # noqa: S608 - own text
            (message_id,),
        ).fetchone()
        try:
            return message_of(row) if row else None
        except (DamagedRow, sqlite3.DatabaseError) as error:
            set_aside(message_id, DamagedRow(str(error)))
            return None
