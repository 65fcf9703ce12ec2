"""Position — the place of an item in what one daemon has to send to another, and the rule that admits it there.

An item is a message for the other host, or a receipt for one of its agents. Its position is the run of the sending
daemon that stored it, a random number made at each start, and its sequence id. Each item also names the item before it,
so the two positions make a chain. The receiving host keeps one number for each run: the highest id that it has stored.
It is written in the transaction that stores the item, so nothing else has to remember what arrived.
A run exists in one history only. A daemon whose database was restored from a backup, or whose clock was set back, has a
new run: what it stores cannot be taken for what the lost history stored under the same id.
Not here: when an item is sent (`outgoing`), how it is stored (`storage.database.links`).
Invariant: an item is admitted at most once, and never before the item that it follows.
"""

__all__ = ["BEGINNING", "Position", "Verdict", "judge"]

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Position(NamedTuple):
    """The place of an item.

    Attributes:
        run: of the daemon that stored it; 0 for the beginning of everything.
        id: its sequence id.
    """

    run: int
    id: int


BEGINNING = Position(0, 0)


class Verdict(Enum):
    """What becomes of an item that arrives."""

    NEXT = "next"
    """It is stored."""
    REPEATED = "repeated"
    """It was stored before."""
    GAP = "gap"
    """An item before it is missing: it is not stored, and has to come again."""


def judge(stored: Mapping[int, int], after: Position, position: Position) -> Verdict:
    """Returns what becomes of an item.

    Args:
        stored: the highest id stored from the item's host, by run.
        after: the position of the item before it.
        position: its own.
    """
    if stored.get(position.run, 0) >= position.id:
        return Verdict.REPEATED
    return Verdict.NEXT if stored.get(after.run, 0) >= after.id else Verdict.GAP
