"""Backoff — decides when to try an inbox file again.

Pure: the clock is the caller's. Doubles from half a second to half a minute.
"""

__all__ = ["backoff_sec"]

FIRST_SEC = 0.5  # a permission that is mended by hand is noticed at once
LONGEST_SEC = 30.0  # a directory that stays broken costs next to nothing


def backoff_sec(attempts: int) -> float:
    """Returns the seconds to wait after so many failed attempts (1 or more)."""
    return min(LONGEST_SEC, FIRST_SEC * 2 ** min(attempts - 1, 16))
