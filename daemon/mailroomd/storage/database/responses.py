"""Responses — the responses that agents left in their outboxes, as rows: kept a day, each with its sequence id.

Owns the table `responses`, writing and reading. The identity of a file tells a file that is read a second time (its
removal failed, or a crash came first) from a new one. Not here: the files (`Outbox`), transactions.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["ResponseRows", "responses_after", "waiting_responses"]

import sqlite3
from collections.abc import Sequence
from typing import Any

from mailroomd.model.announcement import Response
from mailroomd.model.page import Page
from mailroomd.model.states import DeliveryState
from mailroomd.protocol.local_events import ResponseLeft
from mailroomd.storage.database.forgotten import record_forgotten
from mailroomd.storage.database.receipts import FORGET_SLICE, KEPT_MS
from mailroomd.storage.database.state_conditions import NOT_OFFERED, OFFERED

_COLUMNS = "id, agent, session, file_name, state, timestamp_ms, body"
READ_BYTES = 4 << 20  # of bodies in one page, beyond its first


class ResponseRows:
    """Writes responses.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, response_id: int, agent: str, response: ResponseLeft, now_ms: int) -> bool:
        """Inserts a response under this id; returns False if the same file is stored already."""
        inserted = self._connection.execute(
            f"INSERT OR IGNORE INTO responses ({_COLUMNS}, identity) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                response_id,
                agent,
                response.session,
                response.file_name,
                DeliveryState.FILED.value,
                now_ms,
                response.body.decode(),
                response.identity,
            ),
        ).rowcount
        return inserted == 1

    def mark_offered(self, response_id: int, agent: str) -> None:
        """Records that a response was delivered to a subscriber; does nothing if it does not exist."""
        self._connection.execute(
            f"UPDATE responses SET state = {OFFERED} WHERE id = ? AND agent = ?", (response_id, agent)
        )

    def newest_since(self, since_ms: int) -> list[tuple[str, int]]:
        """Returns (agent, id) of the newest response of each agent that received one since a moment."""
        return self._connection.execute(
            "SELECT agent, max(id) FROM responses WHERE timestamp_ms >= ? GROUP BY agent", (since_ms,)
        ).fetchall()

    def delete_old_responses(self, now_ms: int) -> bool:
        """Deletes a slice of the responses that are past their retention; returns whether more are left."""
        deleted_ids = self._connection.execute(
            "DELETE FROM responses WHERE id IN"
            " (SELECT id FROM responses WHERE timestamp_ms < ? ORDER BY timestamp_ms LIMIT ?) RETURNING id",
            (now_ms - KEPT_MS, FORGET_SLICE),
        ).fetchall()
        record_forgotten(self._connection, (event_id for (event_id,) in deleted_ids))
        return len(deleted_ids) == FORGET_SLICE


def responses_after(
    connection: sqlite3.Connection, agents: Sequence[str] | None, cursor: int, durable_id: int, limit: int
) -> Page[Response]:
    """Returns responses after a cursor, in order, fewer if they are large; those of every agent if None is given.

    Args:
        durable_id: the high-water mark; nothing above it is returned.
        limit: of responses.
    """
    return _read(connection, agents, "id > ? AND id <= ?", (cursor, durable_id), limit)


def waiting_responses(
    connection: sqlite3.Connection, agents: Sequence[str], cursor: int, durable_id: int, limit: int
) -> Page[Response]:
    """Returns responses that were not delivered to any subscriber yet, in order."""
    return _read(connection, agents, f"id > ? AND id <= ? AND {NOT_OFFERED}", (cursor, durable_id), limit)


def _read(
    connection: sqlite3.Connection, agents: Sequence[str] | None, where: str, values: Sequence[Any], limit: int
) -> Page[Response]:
    of_agents = f"agent IN ({','.join('?' * len(agents))}) AND" if agents is not None else ""
    page: Page[Response] = Page()
    room_bytes = READ_BYTES
    for row in connection.execute(
        f"SELECT {_COLUMNS} FROM responses WHERE {of_agents} {where} ORDER BY id LIMIT ?",
        (*(agents or ()), *values, limit),
    ):
        response_id, agent, session, file_name, state, timestamp_ms, body = row
        page.append(Response(response_id, agent, session, file_name, DeliveryState(state), timestamp_ms, body.encode()))
        room_bytes -= len(body)
        if room_bytes <= 0:
            return page.cut()
    return page.cut() if len(page) == limit else page
