"""judge_disk — whether the database takes less than it may, nearly too much, or too much.

Owns the rule and its hysteresis: who was refused is taken again only when there is some room, not for one message.
Pure: sizes are the caller's.
"""

__all__ = ["DiskUse", "judge_disk", "warning_bytes"]

from enum import Enum

WARN_AT = 0.8  # of the limit, where no other figure is given
ROOM_AGAIN = 0.95  # of the limit: below it mail is taken again


class DiskUse(Enum):
    """How much of what it may take the database takes."""

    FINE = "fine"
    HIGH = "high"
    OVER = "over"


def warning_bytes(warn_bytes: int, max_bytes: int) -> int:
    """Returns from where on to warn; 0: never."""
    return warn_bytes or int(max_bytes * WARN_AT)


def judge_disk(used_bytes: int, warn_bytes: int, max_bytes: int, before: DiskUse) -> DiskUse:
    """Returns the judgement; a limit of 0 is none."""
    bound = max_bytes * ROOM_AGAIN if before is DiskUse.OVER else max_bytes
    if max_bytes and used_bytes >= bound:
        return DiskUse.OVER
    warn_from = warning_bytes(warn_bytes, max_bytes)
    return DiskUse.HIGH if warn_from and used_bytes >= warn_from else DiskUse.FINE
