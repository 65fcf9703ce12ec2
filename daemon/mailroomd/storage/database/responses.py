"""Responses — what agents left in their outboxes, as rows: kept a day, each at its place in the one order.

Owns the table `responses`, both ways on one screen. A file whose removal failed, or that a crash left, is recognised by
its identity and is not announced twice. Not here: the files (`Outbox`), transactions.
"""

__all__ = ["ResponseRows", "responses_after", "waiting_responses"]

import sqlite3
from collections.abc import Sequence
from typing import Any

from mailroomd.model.announcement import Response
from mailroomd.model.ids import MS_SHIFT
from mailroomd.model.page import Page
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import ResponseLeft
from mailroomd.storage.database.receipts import FORGET_SLICE, KEPT_MS

_COLUMNS = "id, agent, session, file_name, state, timestamp_ms, body"
READ_BYTES = 4 << 20  # of bodies in one read, beyond its first


class ResponseRows:
    """Writes responses.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, number: int, agent: str, left: ResponseLeft, now_ms: int) -> bool:
        """Writes a response at this place; returns False if the same file was written before."""
        written = self._connection.execute(
            f"INSERT OR IGNORE INTO responses ({_COLUMNS}, identity) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                number,
                agent,
                left.session,
                left.file_name,
                DeliveryState.FILED.value,
                now_ms,
                left.body.decode(),
                left.identity,
            ),
        ).rowcount
        return written == 1

    def offer(self, number: int, agent: str) -> None:
        """Notes that a response was handed to a subscriber; an id that is none does nothing."""
        self._connection.execute("UPDATE responses SET state = 3 WHERE id = ? AND agent = ?", (number, agent))

    def newest_since(self, since_ms: int) -> list[tuple[str, int]]:
        """Returns (agent, id) of the newest response of each agent that got one since a moment."""
        return self._connection.execute(
            "SELECT agent, max(id) FROM responses WHERE timestamp_ms >= ? GROUP BY agent", (since_ms,)
        ).fetchall()

    def forget_old(self, now_ms: int) -> bool:
        """Forgets a slice of the responses that are past their time; returns whether more are left."""
        oldest = max(0, now_ms - KEPT_MS) << MS_SHIFT
        forgotten = self._connection.execute(
            "DELETE FROM responses WHERE id IN (SELECT id FROM responses WHERE id < ? ORDER BY id LIMIT ?)",
            (oldest, FORGET_SLICE),
        ).rowcount
        return forgotten == FORGET_SLICE


def responses_after(
    connection: sqlite3.Connection, agents: Sequence[str] | None, cursor: int, mark: int, limit: int
) -> Page[Response]:
    """Returns responses above the cursor, in their order, fewer where they are large; of everybody where None is given.

    Args:
        mark: nothing above it is returned.
        limit: at most so many.
    """
    return _read(connection, agents, "id > ? AND id <= ?", (cursor, mark), limit)


def waiting_responses(
    connection: sqlite3.Connection, agents: Sequence[str], cursor: int, mark: int, limit: int
) -> Page[Response]:
    """Returns responses that were handed to no subscriber yet, in their order."""
    return _read(connection, agents, "id > ? AND id <= ? AND state < 3", (cursor, mark), limit)


def _read(
    connection: sqlite3.Connection, agents: Sequence[str] | None, where: str, values: Sequence[Any], limit: int
) -> Page[Response]:
    whose = f"agent IN ({','.join('?' * len(agents))}) AND" if agents is not None else ""
    found: Page[Response] = Page()
    room = READ_BYTES
    for row in connection.execute(
        f"SELECT {_COLUMNS} FROM responses WHERE {whose} {where} ORDER BY id LIMIT ?",  # noqa: S608 - own text
        (*(agents or ()), *values, limit),
    ):
        number, agent, session, file_name, state, timestamp_ms, body = row
        found.append(Response(number, agent, session, file_name, DeliveryState(state), timestamp_ms, body.encode()))
        room -= len(body)
        if room <= 0:
            return found.cut()
    return found.cut() if len(found) == limit else found
