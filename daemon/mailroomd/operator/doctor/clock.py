"""Clock — is it right, as far as can be told here: not before this program was made, nor before the newest mail."""

__all__ = ["check"]

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from mailroomd.operator.doctor.database import open_for_reading
from mailroomd.operator.doctor.findings import Finding, ok, problem, warning
from mailroomd.operator.places import Places

MADE_SEC = 1_760_000_000  # October 2025
TOLERANCE_SEC = 2.0  # a clock is moved by a little all the time


def check(places: Places) -> Iterator[Finding]:
    """Looks at the clock."""
    now_sec = time.time()
    if now_sec < MADE_SEC:
        shown = time.strftime("%Y-%m-%d", time.gmtime(now_sec))
        yield problem("clock", f"it says {shown}", "set it: retention and expiry go by it (timedatectl)")
        return
    ahead_sec = _newest_sec(places) - now_sec
    if ahead_sec > TOLERANCE_SEC:
        yield warning(
            "clock",
            f"it went back: the newest message is {ahead_sec:,.0f} s in the future",
            "check it (timedatectl); order is kept, but retention and expiry are late by so much",
        )
        return
    yield ok("clock", "it goes forward")


def _newest_sec(places: Places) -> float:
    """Returns when the newest message was taken in, in seconds since 1970; 0 where that cannot be told."""
    if not places.database.exists():
        return 0.0
    try:
        with closing(open_for_reading(places.database)) as connection:
            row = connection.execute("SELECT timestamp_ms FROM messages ORDER BY id DESC LIMIT 1").fetchone()
    except sqlite3.Error:  # the database's own check says so
        return 0.0
    return row[0] / 1000 if row else 0.0
