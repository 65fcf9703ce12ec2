"""Page — what one read found, bounded in number and in bytes.

Owns the bound in bytes: a page of small messages and a page of large ones cost about the same memory.
"""

__all__ = ["READ_BYTES", "Page"]

from typing import Self, TypeVar

Item = TypeVar("Item")

READ_BYTES = 1 << 20  # of content in one read, beyond its first message: what one slow stream may hold


class Page(list[Item]):
    """Items in order; `is_cut` where a bound ended the read, so that more may follow."""

    is_cut = False

    def cut(self) -> Self:
        """Marks the batch as cut and returns it."""
        self.is_cut = True
        return self
