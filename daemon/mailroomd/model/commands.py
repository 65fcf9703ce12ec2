"""Commands and outcomes — what the mailbox orders of the command-queue, and what became of it.

Owns the vocabulary of `writes` (imperatives) and `outcomes` (past tense). A command with an id is answered; one without
is carried out when something else is committed anyway, and not answered.
Not here: the handshake of the queues (`ipc.link`).
"""

__all__ = [
    "Command",
    "CommandRefused",
    "MailboxCounted",
    "MessageFiled",
    "MessageRepeated",
    "MessageWritten",
    "MessagesTaken",
    "Outcome",
    "ReadWritten",
    "StoreConditionChanged",
    "WriteMessage",
    "WriteOffered",
    "WriteRead",
    "WriteSeen",
]

import msgspec


class WriteMessage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit the record at this position of the table and write its inbox file.

    Attributes:
        id: the message's.
        position: of its record in the table.
        key: under which the same request is recognised.
        client_key: the key is its sender's own (kept a day), not a gateway's (kept ten minutes).
        resubmitted: the request may have been committed before, under another id.
        refusal: the answer, unless the request was committed before: its mailbox is full now, say.
        size_bytes: of the record's body.
    """

    id: int
    position: int
    key: str
    client_key: bool
    resubmitted: bool
    refusal: "CommandRefused | None" = None
    size_bytes: int = 0


class WriteRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit that an agent has read these messages, then take their files away."""

    id: int
    agent: str
    message_ids: list[int]


class WriteOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Note, with the next transaction, that messages of one mailbox were handed over."""

    agent: str
    message_ids: list[int]
    offered_ms: int


class WriteSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Note, with the next transaction, when an agent was last there."""

    agent: str
    seen_ms: int


class MessageWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A message is durable; its state says whether its file is there, `file_error` why not."""

    id: int
    state: int
    file_error: str = ""


class MessageRepeated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request was recognised by its key: the message exists under its original id, this id is void."""

    id: int
    original_id: int
    timestamp_ms: int
    state: int
    file_error: str


class ReadWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An acknowledgement is durable; `unknown` are ids that are not in this mailbox."""

    id: int
    agent: str
    acknowledged: list[int]
    unknown: list[int]


class CommandRefused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Nothing of this command was written."""

    id: int
    reason: str
    sentence: str
    retry_after_ms: int
    field: str = ""


class MessagesTaken(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An agent took inbox files away: it has read these messages. Durable; nobody ordered it."""

    agent: str
    message_ids: list[int]


class MessageFiled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A file that could not be written at first is there now. Durable; nobody ordered it."""

    message_id: int


class MailboxCounted(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """How a mailbox stands after a transaction that touched it; absolute, so that hearing it twice is harmless."""

    name: str
    total: int
    unread: int
    oldest_unread_id: int


class StoreConditionChanged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The database takes messages again, or doesn't: the sentence says why."""

    writable: bool
    sentence: str = ""


Command = WriteMessage | WriteRead | WriteOffered | WriteSeen
Outcome = (
    MessageWritten
    | MessageRepeated
    | ReadWritten
    | CommandRefused
    | MessagesTaken
    | MessageFiled
    | MailboxCounted
    | StoreConditionChanged
)
