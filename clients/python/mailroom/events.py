"""Event — what a subscription yields: messages, receipts, command responses, and CaughtUp where asked for.

Invariant: `event_id` is the event's place in the one order of the mail room; give it back as `after_id` to resume.
"""

__all__ = ["CaughtUp", "CommandResponse", "Event", "GoingAway", "Receipt"]

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from mailroom.messages import Message
from mailroom.records import Record
from mailroom.states import DeliveryState


@dataclass(frozen=True, slots=True)
class Receipt(Record):
    """What became of a message. In a message's history `event_id` is empty."""

    message_id: str
    recipient: str
    state: DeliveryState
    timestamp: datetime | None
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class CommandResponse(Record):
    """A response that an agent left as a JSON file in its outbox.

    Attributes:
        body: what the file holds, also where it is too large for the contract's `body`.
        timestamp: when the mail room took it in.
    """

    session_id: str
    body: dict[str, Any] = field(hash=False)
    file_name: str
    event_id: str = ""
    timestamp: datetime | None = None


@dataclass(frozen=True, slots=True)
class CaughtUp(Record):
    """The replay is over; what follows is live. Comes again after each reconnection."""

    last_id: str

    @property
    def event_id(self) -> str:
        """The last place of the replay."""
        return self.last_id


@dataclass(frozen=True, slots=True)
class GoingAway(Record):
    """The daemon is stopping. Subscriptions resume by themselves and never yield it."""

    last_id: str


Event: TypeAlias = Message | Receipt | CommandResponse | CaughtUp
