"""forgotten — the mark of `meta` that says up to which id events may be missing because their retention deleted them.

Owns writing and reading it. A subscriber that resumes from before the mark cannot get everything that it missed, and is
told so. Clearing a mailbox does not move the mark: its owner asked for that.
"""

__all__ = ["forgotten_id", "record_forgotten"]

import sqlite3
from collections.abc import Iterable


def record_forgotten(connection: sqlite3.Connection, deleted_ids: Iterable[int]) -> None:
    """Moves the mark to the highest of these ids, in the open transaction of the caller."""
    highest = max(deleted_ids, default=0)
    if highest:
        connection.execute(
            "INSERT INTO meta VALUES ('forgotten_id', ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
            (highest,),
        )


def forgotten_id(connection: sqlite3.Connection) -> int:
    """Returns the mark; 0 as long as nothing was deleted."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'forgotten_id'").fetchone()
    return row[0] if row else 0
