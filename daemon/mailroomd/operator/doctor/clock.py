"""Clock — is it plausible: not before the release of this version, and not before the newest message?"""

__all__ = ["check"]

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

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
    ahead_sec = _newest_message_sec(installation) - now_sec
    if ahead_sec > TOLERANCE_SEC:
        yield warning(
            "clock",
            f"it was set back: the newest message is {ahead_sec:,.0f} s in the future",
            "check it (timedatectl); the order of messages is kept, but retention and expiry are late by that much",
        )
        return
    yield ok("clock", "ok")


def _newest_message_sec(installation: Installation) -> float:
    """Returns the time of the newest message in seconds since 1970; 0 if it is unknown."""
    if not installation.database.exists():
        return 0.0
    try:
        with closing(open_read_only(installation.database)) as connection:
            row = connection.execute("SELECT timestamp_ms FROM messages ORDER BY id DESC LIMIT 1").fetchone()
    except sqlite3.Error:  # reported by the check of the database
        return 0.0
    return row[0] / 1000 if row else 0.0
