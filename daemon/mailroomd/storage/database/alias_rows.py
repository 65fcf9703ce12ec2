"""AliasRows — which agent receives the mail of a session, in the database.

Owns the table `aliases`, writing and reading. Not here: what an alias does (`core.aliases`), transactions.
"""

__all__ = ["AliasRows", "live_aliases"]

import sqlite3


class AliasRows:
    """Writes aliases.

    Args:
        connection: the writer's; its owner begins and ends the transactions.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, session: str, agent: str, expires_ms: int) -> None:
        """Sets an alias until a moment, milliseconds since 1970; 0 ends it."""
        if expires_ms:
            self._connection.execute(
                "INSERT OR REPLACE INTO aliases (session, agent, expires_ms) VALUES (?, ?, ?)",
                (session, agent, expires_ms),
            )
        else:
            self._connection.execute("DELETE FROM aliases WHERE session = ?", (session,))

    def delete_expired_aliases(self, now_ms: int) -> None:
        """Deletes the aliases that have expired."""
        self._connection.execute("DELETE FROM aliases WHERE expires_ms <= ?", (now_ms,))


def live_aliases(connection: sqlite3.Connection, now_ms: int) -> list[tuple[str, str, int]]:
    """Returns (session, agent, expires_ms) of every alias that has not expired."""
    return connection.execute(
        "SELECT session, agent, expires_ms FROM aliases WHERE expires_ms > ? ORDER BY session", (now_ms,)
    ).fetchall()
