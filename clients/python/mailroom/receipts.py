"""Receipt — one step of a message on its way from its sender to its recipient.

Not here: reading a message's history (calls), receipts as events of a subscription (events).
"""

__all__ = ["Receipt"]

from dataclasses import dataclass
from datetime import datetime

from mailroom.records import Record
from mailroom.states import DeliveryState


@dataclass(frozen=True, slots=True)
class Receipt(Record):
    """A change of a message's delivery state.

    Attributes:
        event_id: its place in the global sequence; empty in a message's history.
        by: who acknowledged the message in its recipient's place; None for the recipient.
        reason: why the message was returned; None if it was not.
    """

    message_id: str
    recipient: str
    state: DeliveryState
    timestamp: datetime | None
    event_id: str = ""
    by: str | None = None
    reason: str | None = None
