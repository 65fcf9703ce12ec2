"""Packets — what travels between gateway, mailbox and command-queue, queue by queue.

Owns the vocabulary of `requests` and `events`, and the tuples of types that each queue carries. Requests are
imperatives and carry the gateway's call number, by which the answer finds its way; 0 asks for no answer.
Not here: commands and outcomes (`protocol.commands`), the packing of several into one packet (`ipc.queue`).
"""

__all__ = [
    "EVENTS",
    "OUTCOMES",
    "REQUESTS",
    "WRITES",
    "AliasChanged",
    "AliasSet",
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
    """A process says that it is new: it discards what it reads until the Reset of this epoch."""

    epoch: int


class Reset(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to Hello: all that came before is settled; what is unanswered follows, then new work."""

    epoch: int


class StoreMessage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Store, file and announce one message. Answered by MessageStored or CallFailed.

    Attributes:
        asked_ns: when the gateway asked, on the monotonic clock that all processes share.
        trace: the W3C `traceparent` of the sender's trace; "" where nothing is traced.
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
    """Mark messages or responses as handed over. Answered by MessagesOffered where a call number is given."""

    call: int
    agent: str
    message_ids: list[int]


class ClearMailbox(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Delete messages of one mailbox, up to an id and so many at most. Answered by MailCleared or CallFailed."""

    call: int
    agent: str
    through_id: int
    limit: int


class SetAlias(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Lead mail for a session to an agent until a moment; 0 ends it. Answered by AliasSet or CallFailed."""

    call: int
    session: str
    agent: str
    expires_ms: int


class CountSubscribers(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """This gateway now has so many live subscribers of an agent."""

    agent: str
    count: int


class NoteSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An agent was here."""

    agent: str


class MessageStored(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to StoreMessage.

    Attributes:
        repeated: the request was recognised; `id` is then the first one's.
        recipient: whose mailbox an alias led it to; "" where it is the one that was named.
        settled_ns: when the mailbox settled it, on the monotonic clock.
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
    settled_ns: int = 0


class MessagesRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to MarkRead."""

    call: int
    acknowledged: list[int]
    unknown: list[int]


class MessagesOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to MarkOffered."""

    call: int


class MailCleared(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to ClearMailbox; `more` says that messages up to `through_id` are left."""

    call: int
    deleted: int
    through_id: int
    more: bool


class AliasSet(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to SetAlias."""

    call: int


class CallFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request was refused: nothing was written."""

    call: int
    reason: str
    sentence: str
    field: str
    retry_after_ms: int


class HighWaterMarkAdvanced(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mail of these mailboxes, or receipts for these senders, became visible; no names: anybody's."""

    mailboxes: list[str]
    senders: list[str]


class AliasChanged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Which agent is behind a session until a moment; 0: none is any more."""

    session: str
    agent: str
    expires_ms: int


Request = StoreMessage | MarkRead | MarkOffered | ClearMailbox | SetAlias | CountSubscribers | NoteSeen
Answer = MessageStored | MessagesRead | MessagesOffered | MailCleared | AliasSet | CallFailed
Event = Answer | HighWaterMarkAdvanced | AliasChanged | StorageStateChanged

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
