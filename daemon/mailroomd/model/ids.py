"""IdSequence — issues ids, which put all messages, receipts and responses into one global sequence.

Owns the layout of an id: a 63-bit number made of milliseconds since 1970 (43 bits), node (6 bits) and counter (14
bits), written as 16 lowercase hex digits. It serves as primary key, cursor, file name and page token.
Not here: storing the highest id (the database does, in the transaction that uses it).
Invariant: an id is greater than every id issued before it, whatever the clock does.
"""

__all__ = ["MAX_ID", "NOT_AN_ID", "IdSequence", "format_id", "milliseconds_of", "parse_id"]

import re

COUNTER_BITS = 14
NODE_BITS = 6
MS_SHIFT = COUNTER_BITS + NODE_BITS
COUNTER_MASK = (1 << COUNTER_BITS) - 1
MAX_ID = (1 << 63) - 1

NOT_AN_ID = "not a message id (16 lowercase hex digits, at most 7fffffffffffffff)"

_HEX_ID = re.compile(r"[0-7][0-9a-f]{15}")


def format_id(value: int) -> str:
    """Returns an id as 16 lowercase hex digits."""
    return f"{value:016x}"


def parse_id(text: str) -> int:
    """Returns the id that 16 lowercase hex digits stand for.

    Raises:
        ValueError: the text is not an id.
    """
    if not _HEX_ID.fullmatch(text):
        raise ValueError(f"{text!r} is {NOT_AN_ID}")
    return int(text, 16)


def milliseconds_of(value: int) -> int:
    """Returns the time part of an id, in milliseconds since 1970; it may be ahead of a clock that was set back."""
    return value >> MS_SHIFT


class IdSequence:
    """Issues ever greater ids for one node.

    Attributes:
        last: the highest id ever issued, 0 if none was.

    Args:
        last: the highest id issued so far, 0 for none.
        node: number of this machine, 0 to 63.
    """

    def __init__(self, last: int = 0, node: int = 0) -> None:
        self.last = last
        self._node = node << COUNTER_BITS

    def issue(self, now_ms: int, count: int = 1) -> int:
        """Returns the first of `count` consecutive ids, of this millisecond unless the last id is ahead.

        Args:
            now_ms: the time, in milliseconds since 1970.
            count: at most 16,384, the capacity of one millisecond.
        """
        first = now_ms << MS_SHIFT | self._node
        if first <= self.last:
            first = self.last + 1
            if COUNTER_MASK - (self.last & COUNTER_MASK) < count:  # used up: borrow from the next millisecond
                first = ((self.last >> MS_SHIFT) + 1) << MS_SHIFT | self._node
        self.last = first + count - 1
        return first
