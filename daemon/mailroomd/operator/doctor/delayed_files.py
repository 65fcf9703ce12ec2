"""Delayed files — are there messages whose inbox file or team inbox entry could not be written?

They are stored, and clients get them, but agents that read files do not. The daemon tries each again, so an entry that
has just been stored does not count.
"""

# ruff: noqa: S608 - only this package's own text is formatted into SQL

__all__ = ["check"]

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from mailroomd.operator.doctor.finding import Finding, warning
from mailroomd.operator.doctor.schema import has_current_version
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only
from mailroomd.storage.database.state_conditions import UNREAD
from mailroomd.storage.team_inbox.inboxes import MAILBOX_ONLY

PATIENCE_SEC = 10
MAX_COUNTED = 10_000
_COLUMNS = {
    "file_error": ("inbox files", "inbox file is", "correct that (see the findings about directories and disks)"),
    "team_error": ("team entries", "entry in the team inbox is", "correct that (see the findings about team inboxes)"),
}


def check(installation: Installation) -> Iterator[Finding]:
    """Counts such messages. Reports nothing if there is none, or if the database cannot be read."""
    if not installation.database.exists():
        return
    try:
        with closing(open_read_only(installation.database)) as connection:
            if has_current_version(connection):
                for column in _COLUMNS:
                    yield from _check_column(connection, column)
    except sqlite3.Error:
        return


def _check_column(connection: sqlite3.Connection, column: str) -> Iterator[Finding]:
    before_ms = (time.time() - PATIENCE_SEC) * 1000
    name, noun, advice = _COLUMNS[column]
    is_late = f"{column} <> '' AND {column} NOT LIKE '%; {MAILBOX_ONLY}' AND {UNREAD} AND timestamp_ms < ?"
    delayed = f"FROM messages WHERE {is_late}"  # its index has few entries
    count = connection.execute(f"SELECT count(*) FROM (SELECT 1 {delayed} LIMIT {MAX_COUNTED})", (before_ms,))
    [number] = count.fetchone()
    if not number:
        return
    recipient, reason = connection.execute(
        f"SELECT recipient, CAST({column} AS BLOB) {delayed} ORDER BY id LIMIT 1", (before_ms,)
    ).fetchone()
    several = "1 message whose" if number == 1 else f"{number:,} messages whose"
    summary = f"{several} {noun} not written; the oldest is for {recipient}: {bytes(reason).decode(errors='replace')}"
    yield warning(name, summary, f"{advice}; the daemon tries again by itself. `mailroom inbox` shows them meanwhile")
