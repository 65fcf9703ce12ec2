"""Message — one message, and the results of calls about messages."""

__all__ = [
    "Acknowledgement",
    "Delivery",
    "Inbox",
    "Message",
    "MessagePage",
    "SendOutcome",
    "SentMessage",
    "TrackedMessage",
]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailroom.errors import MailroomError
from mailroom.receipts import Receipt
from mailroom.records import Record
from mailroom.states import DeliveryState, Priority


@dataclass(frozen=True, slots=True)
class Message(Record):
    """One message.

    Attributes:
        id: 16 lowercase hex digits; ids sort in delivery order.
        timestamp: when the daemon stored it.
        expires_at: None if it never expires.
        sender_verified: whether the sender proved its name with a token.
        reply_by: by when the sender wants an answer; None if it named no time.
        content_size: the size of the whole content, where it was shortened (`preview_bytes`); otherwise 0.
    """

    id: str
    recipient: str
    sender: str
    content: str
    type: str
    timestamp: datetime | None
    read: bool
    metadata: dict[str, Any] = field(hash=False)
    thread_id: str | None
    in_reply_to: str | None
    priority: Priority
    expires_at: datetime | None
    state: DeliveryState
    sender_verified: bool
    reply_by: datetime | None = None
    content_size: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values; `content_size` only where it says something."""
        values = Record.to_dict(self)
        if not self.content_size:
            del values["content_size"]
        return values

    @property
    def event_id(self) -> str:
        """A message's position in the global sequence is its id."""
        return self.id


@dataclass(frozen=True, slots=True)
class Delivery(Record):
    """The delivery of one message.

    Attributes:
        inbox_file_error: why the inbox file has not been written yet; None if it has.
        team_inbox_error: the same for the native team inbox of an `agent@team` recipient.
        subscribers: the number of live subscribers that were notified.
        recipient_known: whether the recipient has ever subscribed, checked its inbox or sent a message.
        reason: why another host has returned the message; None if it has not.
        also_at: if the recipient is not known on this host: others that list an agent of its name.
    """

    state: DeliveryState
    inbox_file_error: str | None
    team_inbox_error: str | None
    subscribers: int
    recipient_known: bool
    recipient_last_seen: datetime | None
    reason: str | None = None
    also_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SentMessage(Record):
    """A message that is durable, with its delivery."""

    message: Message
    delivery: Delivery

    @property
    def id(self) -> str:
        """The message's id."""
        return self.message.id


@dataclass(frozen=True, slots=True)
class SendOutcome(Record):
    """The outcome for one recipient of a broadcast or one draft of a bulk send: either `sent` or `error` is set."""

    recipient: str
    sent: SentMessage | None
    error: MailroomError | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the outcome as JSON-ready values."""
        sent = self.sent.to_dict() if self.sent else None
        return {"recipient": self.recipient, "sent": sent, "error": self.error.to_dict() if self.error else None}


@dataclass(frozen=True, slots=True)
class TrackedMessage(Record):
    """A message with its delivery and its history of delivery states."""

    message: Message
    delivery: Delivery
    history: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class _Messages(Record):
    messages: tuple[Message, ...]

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True, slots=True)
class Inbox(_Messages):
    """Unread messages; `more` tells whether there are further ones."""

    more: bool


@dataclass(frozen=True, slots=True)
class MessagePage(_Messages):
    """One page of a mailbox, newest first; `next_page_token` is "" on the last page."""

    next_page_token: str


@dataclass(frozen=True, slots=True)
class Acknowledgement(Record):
    """The ids that are read now, and the ids that the mailbox does not contain."""

    acknowledged_ids: tuple[str, ...]
    unknown_ids: tuple[str, ...]

    @classmethod
    def joined(cls, parts: "Sequence[Acknowledgement]") -> "Acknowledgement":
        """Returns several acknowledgements as one."""
        acknowledged_ids = tuple(message_id for part in parts for message_id in part.acknowledged_ids)
        return cls(acknowledged_ids, tuple(message_id for part in parts for message_id in part.unknown_ids))
