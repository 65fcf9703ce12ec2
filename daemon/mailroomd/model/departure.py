"""Departure — how far a message for another host has come on this side: waiting, or sent and not confirmed yet.

Not here: what becomes of it there, which receipts report (`model.states`).
"""

__all__ = ["QUEUED", "Departure"]

from typing import NamedTuple


class Departure(NamedTuple):
    """A message for another host.

    Attributes:
        has_left: whether it was sent.
        reason: why it was returned, or still waits; "" for none.
    """

    has_left: bool
    reason: str = ""


QUEUED = Departure(has_left=False)
