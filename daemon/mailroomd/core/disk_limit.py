"""judge_disk — whether the database is within its size limit, close to it, or over it.

Owns the rule and its hysteresis: once over the limit, mail is accepted again only when there is noticeable room, not
after each deleted message. Pure: the caller passes in the sizes.
"""

__all__ = ["DiskUse", "judge_disk", "warning_bytes"]

from enum import Enum

WARN_AT = 0.8  # of the limit, unless a warning level is set
ACCEPT_AGAIN_BELOW = 0.95  # of the limit


class DiskUse(Enum):
    """How much of its allowance the database uses."""

    FINE = "fine"
    HIGH = "high"
    OVER = "over"


def warning_bytes(warn_bytes: int, max_bytes: int) -> int:
    """Returns the size from which to warn; 0 means never."""
    return warn_bytes or int(max_bytes * WARN_AT)


def judge_disk(used_bytes: int, warn_bytes: int, max_bytes: int, before: DiskUse) -> DiskUse:
    """Returns the verdict, given the previous one; a `max_bytes` of 0 means no limit."""
    bound = max_bytes * ACCEPT_AGAIN_BELOW if before is DiskUse.OVER else max_bytes
    if max_bytes and used_bytes >= bound:
        return DiskUse.OVER
    warn_from = warning_bytes(warn_bytes, max_bytes)
    return DiskUse.HIGH if warn_from and used_bytes >= warn_from else DiskUse.FINE
