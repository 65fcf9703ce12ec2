"""now_ms — the wall clock, in the unit in which the daemon stores times."""

__all__ = ["now_ms"]

import time


def now_ms() -> int:
    """Returns the current time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
