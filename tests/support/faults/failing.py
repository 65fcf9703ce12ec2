"""Failing — SQLite's errors on demand: a connection whose n-th statement fails."""

__all__ = ["Failing", "connect", "error"]

import sqlite3
from typing import Any

from mailroomd.storage.database.message_store import MessageStore


def error(code: int) -> sqlite3.OperationalError:
    made = sqlite3.OperationalError("as SQLite says it")
    made.sqlite_errorcode = code
    return made


class Failing:
    """A connection whose n-th statement fails."""

    def __init__(self, real: sqlite3.Connection, countdown: int) -> None:
        self.real = real
        self.countdown = countdown

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.fail_in_turn(sql)
        return self.real.execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.fail_in_turn(sql)
        return self.real.executemany(sql, *values)

    def fail_in_turn(self, sql: str) -> None:
        if sql == "ROLLBACK" or sql.startswith("PRAGMA"):  # they touch no disk
            return
        self.countdown -= 1
        if self.countdown == 0:
            raise error(sqlite3.SQLITE_IOERR_FSYNC if sql == "COMMIT" else sqlite3.SQLITE_IOERR_READ)


def connect(store: MessageStore, connection: Any) -> None:
    """Gives a store and all its parts another connection."""
    store.transactions.connection = connection
    for part in (store, *vars(store).values()):
        if hasattr(part, "_connection"):
            part._connection = connection  # pyright: ignore[reportPrivateUsage]
