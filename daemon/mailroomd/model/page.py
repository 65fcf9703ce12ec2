"""Page — the result of a read, bounded in items and in bytes.

Owns the bound in bytes, so that a page of large messages takes about as much memory as one of small messages.
"""

__all__ = ["READ_BYTES", "Page"]

from typing import Self, TypeVar

Item = TypeVar("Item")

READ_BYTES = 1 << 20  # of content in one page, after its first message: the memory that a slow stream may hold


class Page(list[Item]):
    """Items in order; `is_cut` if a bound ended the read, so that more may follow."""

    is_cut = False

    def cut(self) -> Self:
        """Marks the page as cut and returns it."""
        self.is_cut = True
        return self
