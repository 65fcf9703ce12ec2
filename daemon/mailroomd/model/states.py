"""DeliveryState — how far a message has come, and the one table of the steps that it may take.

Owns the closed vocabulary of states; their numbers are those of the contract (mailroom.proto).
Invariant: a state only ever moves forward, except that OFFERED may be FILED again after a crash.
"""

__all__ = ["TRANSITIONS", "DeliveryState", "may_become"]

from enum import IntEnum


class DeliveryState(IntEnum):
    """States of a message; a greater number is further on its way."""

    VOIDED = 0
    """Its transaction failed, it repeated an earlier request, or it was deleted: no reader sees it. Table only."""
    STORED = 1
    """Durable; its inbox file is not there yet and is being retried."""
    FILED = 2
    """Its inbox file is there too."""
    OFFERED = 3
    """Handed to its recipient: on a stream, by CheckInbox or by MarkOffered."""
    READ = 4
    """Acknowledged by its recipient. Final."""
    EXPIRED = 5
    """Its time to live ran out unread. Final."""

    @property
    def is_unread(self) -> bool:
        """Whether the message still waits for its recipient."""
        return DeliveryState.STORED <= self <= DeliveryState.OFFERED


TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.VOIDED: frozenset(),
    DeliveryState.STORED: frozenset(
        {DeliveryState.FILED, DeliveryState.OFFERED, DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.VOIDED}
    ),
    DeliveryState.FILED: frozenset(
        {DeliveryState.OFFERED, DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.VOIDED}
    ),
    DeliveryState.OFFERED: frozenset({DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.VOIDED}),
    DeliveryState.READ: frozenset({DeliveryState.VOIDED}),
    DeliveryState.EXPIRED: frozenset({DeliveryState.VOIDED}),
}


def may_become(now: DeliveryState, then: DeliveryState) -> bool:
    """Returns whether a message in the state `now` may step to `then`."""
    return then in TRANSITIONS[now]
