"""Clock — is it plausible: not before the release of this version, the newest message, or the last id?"""

__all__ = ["check"]

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from mailroomd.model.ids import milliseconds_of
from mailroomd.operator.doctor.finding import Finding, ok, problem, warning
from mailroomd.operator.installation import Installation
from mailroomd.operator.read_only import open_read_only

RELEASED_SEC = 1_760_000_000  # October 2025
TOLERANCE_SEC = 2.0  # clocks are adjusted by small amounts all the time


def check(installation: Installation) -> Iterator[Finding]:
    """Checks the clock."""
    now_sec = time.time()
    if now_sec < RELEASED_SEC:
        date = time.strftime("%Y-%m-%d", time.gmtime(now_sec))
        yield problem("clock", f"wrong: it shows {date}", "set it (timedatectl): retention and expiry depend on it")
        return
    newest_message_sec, newest_id_sec = _newest_times_sec(installation)
    if newest_message_sec - now_sec > TOLERANCE_SEC:
        yield warning(
            "clock",
            f"was set back: the newest message is {newest_message_sec - now_sec:,.0f} s in the future",
            "check it (timedatectl); the order of messages is kept, but retention and expiry are late by that much",
        )
        return
    if newest_id_sec - now_sec > TOLERANCE_SEC:
        yield warning(
            "clock",
            f"was ahead once: message ids are {newest_id_sec - now_sec:,.0f} s in the future",
            "check it (timedatectl); the order of messages is kept, but their ids do not show when they were sent",
        )
        return
    yield ok("clock", "ok")


def _newest_times_sec(installation: Installation) -> tuple[float, float]:
    """Returns the time of the newest message and of the last id, in seconds since 1970; 0 if unknown."""
    if not installation.database.exists():
        return 0.0, 0.0
    try:
        with closing(open_read_only(installation.database)) as connection:
            message_ms = _first(connection, "SELECT timestamp_ms FROM messages ORDER BY id DESC LIMIT 1")
            last_id = _first(connection, "SELECT value FROM meta WHERE name = 'last_id'")
            return message_ms / 1000, milliseconds_of(last_id) / 1000
    except sqlite3.Error:
        return 0.0, 0.0


def _first(connection: sqlite3.Connection, query: str) -> int:
    """Returns the first value; 0 without any. A damaged database is reported by its own check."""
    try:
        row = connection.execute(query).fetchone()
    except sqlite3.Error:
        return 0
    return row[0] if row else 0
