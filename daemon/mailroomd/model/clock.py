"""now_ms — the wall clock, in the unit in which the daemon stores times.

Invariant: a time fits into an id and into a date that every client can parse, whatever the machine's clock says.
"""

__all__ = ["LATEST_MS", "is_out_of_range", "now_ms"]

import time

LATEST_MS = 4_102_444_800_000  # 2100: an id holds times up to 2248, and a restored one only those up to 2109


def now_ms() -> int:
    """Returns the current time in milliseconds since 1970, UTC; at least 0 and at most LATEST_MS."""
    return max(0, min(time.time_ns() // 1_000_000, LATEST_MS))


def is_out_of_range() -> bool:
    """Returns whether the machine's clock is before 1970 or after LATEST_MS, so that `now_ms` does not follow it."""
    return not 0 <= time.time_ns() // 1_000_000 <= LATEST_MS
