"""IdSequence — issues the ids that are the one order of everything.

Owns the layout of an id: a 63-bit number, milliseconds since 1970 (43 bits), node (6 bits), counter (14 bits), written
as 16 lowercase hex digits. It is primary key, cursor, file name and page token in one.
Not here: where the highest id is kept (the database, in the transaction that uses it).
Invariant: an id is greater than every id issued before it, whatever the clock does.
"""

__all__ = ["MAX_ID", "IdSequence", "format_id", "milliseconds_of", "parse_id"]

import re

COUNTER_BITS = 14
NODE_BITS = 6
MS_SHIFT = COUNTER_BITS + NODE_BITS
COUNTER_MASK = (1 << COUNTER_BITS) - 1
MAX_ID = (1 << 63) - 1

_HEX_ID = re.compile(r"[0-7][0-9a-f]{15}")


def format_id(number: int) -> str:
    """Returns an id as 16 lowercase hex digits."""
    return f"{number:016x}"


def parse_id(text: str) -> int:
    """Returns the number behind 16 lowercase hex digits.

    Raises:
        ValueError: the text is not an id.
    """
    if not _HEX_ID.fullmatch(text):
        raise ValueError(f"{text!r} is not an id: 16 lowercase hex digits are expected")
    return int(text, 16)


def milliseconds_of(number: int) -> int:
    """Returns the time part of an id, in milliseconds since 1970 (it may run ahead of a clock that went back)."""
    return number >> MS_SHIFT


class IdSequence:
    """Issues growing ids for one node.

    Args:
        last: the highest id ever issued, 0 if none was.
        node: 0 to 63, this machine's number.
    """

    def __init__(self, last: int = 0, node: int = 0) -> None:
        self.last = last
        self._node = node << COUNTER_BITS

    def issue(self, now_ms: int, count: int = 1) -> int:
        """Returns the first of `count` consecutive ids: of this millisecond, or behind the last where the clock stands.

        Args:
            count: at most the 16,384 that one millisecond has.
        """
        fresh = now_ms << MS_SHIFT | self._node
        if fresh <= self.last:
            fresh = self.last + 1
            if COUNTER_MASK - (self.last & COUNTER_MASK) < count:  # used up: borrow from the next millisecond
                fresh = ((self.last >> MS_SHIFT) + 1) << MS_SHIFT | self._node
        self.last = fresh + count - 1
        return fresh
