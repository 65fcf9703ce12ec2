"""Packets — what travels between gateway, mailbox and command-queue, queue by queue.

Owns the vocabulary of `requests` and `events`, and the tuples of types that each queue carries. Requests are
imperatives and carry the gateway's call number, by which the answer finds its way; 0 asks for no answer.
Not here: commands and outcomes (`model.commands`), the packing of several into one packet (`ipc.queue`).
"""

__all__ = [
    "EVENTS",
    "OUTCOMES",
    "REQUESTS",
    "WRITES",
    "Answer",
    "CallFailed",
    "CountSubscribers",
    "DurableMarkMoved",
    "Event",
    "Hello",
    "MarkOffered",
    "MarkRead",
    "MessageStored",
    "MessagesOffered",
    "MessagesRead",
    "NoteSeen",
    "Request",
    "Reset",
    "StoreConditionChanged",
    "StoreMessage",
]

import msgspec

from mailroomd.model.commands import (
    CommandRefused,
    MailboxCounted,
    MessageFiled,
    MessageRepeated,
    MessagesTaken,
    MessageWritten,
    ReadWritten,
    StoreConditionChanged,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)
from mailroomd.model.message import Draft


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A process says that it is new: it discards what it reads until the Reset of this epoch."""

    epoch: int


class Reset(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to Hello: all that came before is settled; what is unanswered follows, then new work."""

    epoch: int


class StoreMessage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Store, file and announce one message. Answered by MessageStored or CallFailed."""

    call: int
    key: str
    client_key: bool
    resubmitted: bool
    draft: Draft


class MarkRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mark messages of one mailbox read. Answered by MessagesRead or CallFailed."""

    call: int
    agent: str
    message_ids: list[int]


class MarkOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mark messages of one mailbox as handed over. Answered by MessagesOffered where a call number is given."""

    call: int
    agent: str
    message_ids: list[int]


class CountSubscribers(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """This gateway now has so many live subscribers of an agent."""

    agent: str
    count: int


class NoteSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An agent was here."""

    agent: str


class MessageStored(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to StoreMessage; `repeated` says that the request was recognised, `id` is then the first one's."""

    call: int
    id: int
    timestamp_ms: int
    state: int
    file_error: str
    subscribers: int
    recipient_seen_ms: int
    repeated: bool


class MessagesRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to MarkRead."""

    call: int
    acknowledged: list[int]
    unknown: list[int]


class MessagesOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to MarkOffered."""

    call: int


class CallFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request was refused: nothing was written."""

    call: int
    reason: str
    sentence: str
    field: str
    retry_after_ms: int


class DurableMarkMoved(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Messages of these mailboxes became visible; an empty list means any mailbox."""

    mailboxes: list[str]


Request = StoreMessage | MarkRead | MarkOffered | CountSubscribers | NoteSeen
Answer = MessageStored | MessagesRead | MessagesOffered | CallFailed
Event = Answer | DurableMarkMoved | StoreConditionChanged

REQUESTS = (Hello, Reset, StoreMessage, MarkRead, MarkOffered, CountSubscribers, NoteSeen)
EVENTS = (
    Hello,
    Reset,
    MessageStored,
    MessagesRead,
    MessagesOffered,
    CallFailed,
    DurableMarkMoved,
    StoreConditionChanged,
)
WRITES = (Hello, Reset, WriteMessage, WriteRead, WriteOffered, WriteSeen)
OUTCOMES = (
    Hello,
    Reset,
    MessageWritten,
    MessageRepeated,
    ReadWritten,
    CommandRefused,
    MessagesTaken,
    MessageFiled,
    MailboxCounted,
    StoreConditionChanged,
)
