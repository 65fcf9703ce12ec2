"""Backoff — how long to wait before something that failed is tried again: a file operation, a worker without memory.

Pure. Doubles from half a second to half a minute.
"""

__all__ = ["backoff_sec"]

FIRST_SEC = 0.5  # short, so that a permission fixed by hand is noticed at once
LONGEST_SEC = 30.0  # long enough that a directory that stays broken costs next to nothing


def backoff_sec(attempts: int) -> float:
    """Returns how many seconds to wait after this many failed attempts (1 or more)."""
    return min(LONGEST_SEC, FIRST_SEC * 2 ** min(attempts - 1, 16))
