"""Event — what a subscription yields: messages, receipts, command responses and, on request, CaughtUp.

Invariant: `event_id` is the event's position in the daemon's global sequence. Pass it as `after_id` to resume there.
"""

__all__ = ["CaughtUp", "CommandResponse", "Event", "GoingAway", "UnknownEvent"]

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from mailroom.messages import Message
from mailroom.receipts import Receipt
from mailroom.records import Record


@dataclass(frozen=True, slots=True)
class CommandResponse(Record):
    """A response that an agent wrote to its outbox as a JSON file.

    Attributes:
        body: the file's JSON object, even if it is too large for the contract's `body` field.
        timestamp: when the daemon stored the response.
    """

    session_id: str
    body: dict[str, Any] = field(hash=False)
    file_name: str
    event_id: str = ""
    timestamp: datetime | None = None


@dataclass(frozen=True, slots=True)
class CaughtUp(Record):
    """The replay is over; all later events are live. Sent again after each reconnection.

    Attributes:
        last_id: the position at which the replay ended.
        gap: events after the position from which it was resumed may be missing: the daemon has deleted them, since
            receipts and responses are kept for 24 hours and read messages for the time that the operator has set.
    """

    last_id: str
    gap: bool = False

    @property
    def event_id(self) -> str:
        """The position at which the replay ended."""
        return self.last_id


@dataclass(frozen=True, slots=True)
class GoingAway(Record):
    """The daemon is stopping. Subscriptions resume automatically and never yield this event."""

    last_id: str


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a kind that only a newer daemon sends. Subscriptions keep its position, and never yield it."""

    event_id: str


Event: TypeAlias = Message | Receipt | CommandResponse | CaughtUp
