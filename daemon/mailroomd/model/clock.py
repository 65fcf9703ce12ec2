"""now_ms — the wall clock, in the one unit that the daemon stores times in."""

__all__ = ["now_ms"]

import time


def now_ms() -> int:
    """Returns the time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
