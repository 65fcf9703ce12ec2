"""Packets — what gateway, mailbox and command-queue send each other, queue by queue.

Owns the envelopes of an operation, one for each hop: a Request carries the gateway's call number, which its Answer
repeats, and a Command carries sequence ids, which its Outcome repeats. Owns also what is sent without an answer, the
handshake, and the types that each queue carries. Not here: operations and results (`protocol.operations`), what the
command-queue reports by itself (`protocol.reports`), packing several items into one packet (`ipc.queue`).
"""

__all__ = [
    "ANSWERS",
    "EVENTS",
    "OUTCOMES",
    "REQUESTS",
    "WRITES",
    "AliasChanged",
    "AliasesSent",
    "Answer",
    "Command",
    "CountSubscribers",
    "Event",
    "ForgetAgent",
    "Hello",
    "HighWaterMarkAdvanced",
    "LazyCommand",
    "NoteSeen",
    "Outcome",
    "Request",
    "Reset",
]

import msgspec

from mailroomd.protocol.operations import (
    Acknowledge,
    Clear,
    Confirm,
    GiveUp,
    Intend,
    MarkOffered,
    Operation,
    RecordReceipts,
    Refused,
    Result,
    Return,
    Send,
    SetAlias,
)
from mailroomd.protocol.reports import (
    AllocateIds,
    MailboxCounted,
    ResponseStored,
    StatesAdvanced,
    StorageStateChanged,
    TeamInboxSettled,
)


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A process has started; it ignores everything until the Reset of this epoch."""

    epoch: int


class Reset(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answers Hello: everything sent earlier is processed; unanswered items follow, then new ones."""

    epoch: int


class Request(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A gateway, or the relay, asks for an operation. Answered by an Answer with the same call number, unless that is
    0.

    Attributes:
        body: of a message: its packed draft, which the mailbox does not decode.
        is_resubmitted: whether an earlier mailbox may have carried it out already.
        asked_ns: when the gateway made it, on the monotonic clock that all processes share.
        trace: the W3C `traceparent` of the sender's trace; "" if the request is not traced.
    """

    call: int
    op: Send | Acknowledge | MarkOffered | Clear | SetAlias | Intend | Confirm | RecordReceipts | Return | GiveUp
    body: bytes = b""
    is_resubmitted: bool = False
    asked_ns: int = 0
    trace: str = ""


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The result of a call's operation, with what the mailbox knows of a message's recipient.

    Attributes:
        subscribers: how many streams of the recipient are live.
        recipient_seen_ms: when the recipient last made a call, in milliseconds since 1970; 0 for never.
        resolved_ns: when the answer was made, on the monotonic clock.
    """

    call: int
    result: Result
    subscribers: int = 0
    recipient_seen_ms: int = 0
    resolved_ns: int = 0


class Command(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The mailbox submits an operation under sequence ids of its own. Answered by one Outcome with its first id.

    The rest describes a message, whose body is in the mailbox table.

    Attributes:
        id: the first of `id_count` sequence ids: the message's own, and those of the receipts that it may cause.
        mailbox: where the message goes.
        position: of its record in the table.
        size_bytes: of its body.
        is_resubmitted: whether the request may have been committed before, under another id.
        refusal: the result, unless the request was committed before; set if the mailbox is full, for example.
        trace: the W3C `traceparent` of the enclosing span; "" if the request is not traced.
        gateway: the index of the gateway whose call waits.
        call: the number of that call; 0 if none waits.
        subscribers: what the Answer says of the recipient's streams.
        recipient_seen_ms: likewise, of the recipient's last call.
    """

    id: int
    op: Operation
    id_count: int = 1
    mailbox: str = ""
    position: int = 0
    size_bytes: int = 0
    is_resubmitted: bool = False
    refusal: Refused | None = None
    trace: str = ""
    gateway: int = 0
    call: int = 0
    subscribers: int = 0
    recipient_seen_ms: int = 0

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to this command."""
        return self.id + self.id_count - 1


class Outcome(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The result of a command.

    Attributes:
        id: of the command.
        receipt_senders: senders of other messages who have new receipts.
        is_answered: whether the command-queue has answered the call that waits.
    """

    id: int
    result: Result
    receipt_senders: list[str] = msgspec.field(default_factory=list[str])
    is_answered: bool = False


class CountSubscribers(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """This gateway now has `count` live subscribers of an agent."""

    agent: str
    count: int


class NoteSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An agent made a call; stored with the next transaction.

    Attributes:
        seen_ms: when, in milliseconds since 1970; the mailbox sets it.
    """

    agent: str
    seen_ms: int = 0


class ForgetAgent(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Forget, with the next transaction, an agent that has no mail."""

    agent: str


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


LazyCommand = NoteSeen | ForgetAgent  # without an id: nothing waits for them
Event = Answer | HighWaterMarkAdvanced | AliasChanged | AliasesSent | StorageStateChanged

ANSWERS = (Answer,)
REQUESTS = (Hello, Reset, Request, CountSubscribers, NoteSeen)
EVENTS = (Hello, Reset, Answer, HighWaterMarkAdvanced, AliasChanged, AliasesSent, StorageStateChanged)
WRITES = (Hello, Reset, Command, NoteSeen, ForgetAgent)
OUTCOMES = (
    Hello,
    Reset,
    Outcome,
    AllocateIds,
    StatesAdvanced,
    TeamInboxSettled,
    ResponseStored,
    MailboxCounted,
    StorageStateChanged,
)
