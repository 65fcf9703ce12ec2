"""Packets — what gateway, mailbox and command-queue send each other, queue by queue.

Owns the vocabulary of the queues `requests` and `events`, the handshake, and the types that each queue carries.
Requests are imperatives. Those that can be answered carry the gateway's call number, which the answer repeats; 0 asks
for no answer. Not here: commands and outcomes (`protocol.commands`), packing several items into one packet
(`ipc.queue`).
"""

__all__ = [
    "EVENTS",
    "OUTCOMES",
    "REQUESTS",
    "WRITES",
    "AliasChanged",
    "AliasSet",
    "AliasesSent",
    "Answer",
    "CallFailed",
    "ClearMailbox",
    "CountSubscribers",
    "Event",
    "Hello",
    "HighWaterMarkAdvanced",
    "MailCleared",
    "MarkOffered",
    "MarkRead",
    "MessageStored",
    "MessagesOffered",
    "MessagesRead",
    "NoteSeen",
    "Request",
    "Reset",
    "SetAlias",
    "StorageStateChanged",
    "StoreMessage",
]

import msgspec

from mailroomd.model.message import Draft
from mailroomd.protocol.commands import (
    AliasWritten,
    AllocateIds,
    CommandRefused,
    IdsAllocated,
    MailboxCleared,
    MailboxCounted,
    MessageFiled,
    MessageRepeated,
    MessagesExpired,
    MessagesRemoved,
    MessagesTaken,
    MessageWritten,
    ReadWritten,
    ResponseWritten,
    StepsWritten,
    StorageStateChanged,
    TeamInboxSettled,
    WriteAlias,
    WriteClear,
    WriteGone,
    WriteMessage,
    WriteOffered,
    WriteRead,
    WriteSeen,
)


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A process has started; it ignores everything until the Reset of this epoch."""

    epoch: int


class Reset(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers Hello: everything sent earlier is processed; unanswered items follow, then new ones."""

    epoch: int


class StoreMessage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Store, file and announce one message. Answered by MessageStored or CallFailed.

    Attributes:
        resubmitted: whether an earlier mailbox may have stored the message already.
        asked_ns: when the gateway sent the request, on the monotonic clock that all processes share.
        trace: the W3C `traceparent` of the sender's trace; "" if the request is not traced.
    """

    call: int
    key: str
    client_key: bool
    resubmitted: bool
    draft: Draft
    asked_ns: int = 0
    trace: str = ""


class MarkRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mark messages of one mailbox read. Answered by MessagesRead or CallFailed."""

    call: int
    agent: str
    message_ids: list[int]


class MarkOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mark messages or responses as delivered to the reader. Answered by MessagesOffered if `call` is not 0."""

    call: int
    agent: str
    message_ids: list[int]


class ClearMailbox(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Delete at most `limit` messages with ids up to `through_id`. Answered by MailCleared or CallFailed."""

    call: int
    agent: str
    through_id: int
    limit: int


class SetAlias(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Make a session an alias of an agent until `expires_ms`; 0 ends it. Answered by AliasSet or CallFailed."""

    call: int
    session: str
    agent: str
    expires_ms: int


class CountSubscribers(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """This gateway now has `count` live subscribers of an agent."""

    agent: str
    count: int


class NoteSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An agent made a call."""

    agent: str


class MessageStored(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers StoreMessage.

    Attributes:
        repeated: whether the request repeated an earlier one; `id` is then that of the original.
        recipient: the mailbox that an alias led the message to; "" if it is the one that was named.
        resolved_ns: when the mailbox processed the outcome, on the monotonic clock.
    """

    call: int
    id: int
    timestamp_ms: int
    state: int
    file_error: str
    subscribers: int
    recipient_seen_ms: int
    repeated: bool
    team_error: str = ""
    recipient: str = ""
    resolved_ns: int = 0


class MessagesRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers MarkRead."""

    call: int
    acknowledged: list[int]
    unknown: list[int]


class MessagesOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers MarkOffered."""

    call: int


class MailCleared(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers ClearMailbox; `more` says whether messages up to `through_id` are left."""

    call: int
    deleted: int
    through_id: int
    more: bool


class AliasSet(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers SetAlias."""

    call: int


class CallFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request was refused: nothing was written."""

    call: int
    reason: str
    sentence: str
    field: str
    retry_after_ms: int


class HighWaterMarkAdvanced(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mail in these mailboxes, or receipts for these senders, became visible; without any names, in any mailbox."""

    mailboxes: list[str]
    senders: list[str]


class AliasChanged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A session is an alias of an agent until `expires_ms`; 0: it no longer is."""

    session: str
    agent: str
    expires_ms: int


class AliasesSent(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A gateway that restarted has been sent every alias: AliasChanged for each, then this."""


Request = StoreMessage | MarkRead | MarkOffered | ClearMailbox | SetAlias | CountSubscribers | NoteSeen
Answer = MessageStored | MessagesRead | MessagesOffered | MailCleared | AliasSet | CallFailed
Event = Answer | HighWaterMarkAdvanced | AliasChanged | AliasesSent | StorageStateChanged

REQUESTS = (
    Hello,
    Reset,
    StoreMessage,
    MarkRead,
    MarkOffered,
    ClearMailbox,
    SetAlias,
    CountSubscribers,
    NoteSeen,
)
EVENTS = (
    Hello,
    Reset,
    MessageStored,
    MessagesRead,
    MessagesOffered,
    MailCleared,
    AliasSet,
    CallFailed,
    HighWaterMarkAdvanced,
    AliasChanged,
    AliasesSent,
    StorageStateChanged,
)
WRITES = (
    Hello,
    Reset,
    WriteMessage,
    WriteRead,
    WriteOffered,
    WriteClear,
    WriteAlias,
    IdsAllocated,
    WriteSeen,
    WriteGone,
)
OUTCOMES = (
    Hello,
    Reset,
    MessageWritten,
    MessageRepeated,
    TeamInboxSettled,
    ReadWritten,
    StepsWritten,
    MailboxCleared,
    AliasWritten,
    CommandRefused,
    AllocateIds,
    MessagesTaken,
    MessagesExpired,
    MessagesRemoved,
    MessageFiled,
    ResponseWritten,
    MailboxCounted,
    StorageStateChanged,
)
