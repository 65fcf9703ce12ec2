"""DeliveryState — how far a message has been delivered, and the transitions that are allowed.

Owns the closed vocabulary of states; their values are those of the contract (mailroom.proto).
Invariant: a state only moves forward, except that OFFERED may fall back to FILED in a crash.
"""

__all__ = ["MESSAGE_STATES", "TRANSITIONS", "DeliveryState", "may_become"]

from enum import IntEnum


class DeliveryState(IntEnum):
    """States of a message, and of a receipt for its sender; a greater value is further along."""

    VOIDED = 0
    """Its transaction failed, it repeated an earlier request, or it was deleted. Invisible; mailbox table only."""
    STORED = 1
    """Durable; its inbox file could not be written yet and is being retried."""
    FILED = 2
    """Durable, and its inbox file is written."""
    OFFERED = 3
    """Delivered to the reader: on a stream, by CheckInbox or by MarkOffered."""
    READ = 4
    """Acknowledged by its recipient. Final."""
    EXPIRED = 5
    """Its time to live ran out unread. Final."""
    OVERDUE = 6
    """Only of receipts: its `reply_by` passed without an answer. No message is ever in this state."""
    RETURNED = 7
    """Given back to its sender: the host that it was for did not take it. Final."""

    @property
    def is_unread(self) -> bool:
        """Whether the message still waits for its recipient."""
        return DeliveryState.STORED <= self <= DeliveryState.OFFERED


TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.VOIDED: frozenset(),
    DeliveryState.STORED: frozenset(
        {
            DeliveryState.FILED,
            DeliveryState.OFFERED,
            DeliveryState.READ,
            DeliveryState.EXPIRED,
            DeliveryState.RETURNED,
            DeliveryState.VOIDED,
        }
    ),
    DeliveryState.FILED: frozenset(
        {DeliveryState.OFFERED, DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.VOIDED}
    ),
    DeliveryState.OFFERED: frozenset({DeliveryState.READ, DeliveryState.EXPIRED, DeliveryState.VOIDED}),
    DeliveryState.READ: frozenset({DeliveryState.VOIDED}),
    DeliveryState.EXPIRED: frozenset({DeliveryState.VOIDED}),
    DeliveryState.RETURNED: frozenset({DeliveryState.VOIDED}),
}
MESSAGE_STATES = frozenset(TRANSITIONS)


def may_become(now: DeliveryState, then: DeliveryState) -> bool:
    """Returns whether a message may move from the state `now` to `then`."""
    return then in TRANSITIONS[now]
