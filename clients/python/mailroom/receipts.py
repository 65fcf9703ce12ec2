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
    """A change of a message's delivery state. In a message's history `event_id` is empty."""

    message_id: str
    recipient: str
    state: DeliveryState
    timestamp: datetime | None
    event_id: str = ""
