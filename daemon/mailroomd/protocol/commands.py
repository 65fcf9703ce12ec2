"""Commands and outcomes — what the mailbox submits to the command-queue, and what the command-queue reports back.

Owns the vocabulary of the queues `writes` (imperatives) and `outcomes` (past tense). A command with an id is answered
by exactly one outcome with that id, and owns the sequence ids from its id to its `last_id`, for the receipts that it
may cause. A lazy command has no id: it is committed together with the next transaction and is not answered. Local
events (`protocol.local_events`) need sequence ids, too: the command-queue requests them with `AllocateIds`, and the
mailbox submits `IdsAllocated`. Not here: the handshake of the queues (`ipc.link`).
"""

__all__ = [
    "AliasWritten",
    "AllocateIds",
    "Command",
    "CommandRefused",
    "IdsAllocated",
    "LazyCommand",
    "MailboxCleared",
    "MailboxCounted",
    "MessageFiled",
    "MessageRepeated",
    "MessageWritten",
    "MessagesExpired",
    "MessagesRemoved",
    "MessagesTaken",
    "Outcome",
    "ReadWritten",
    "ResponseWritten",
    "SequencedCommand",
    "StepsWritten",
    "StorageStateChanged",
    "TeamInboxSettled",
    "WriteAlias",
    "WriteClear",
    "WriteGone",
    "WriteMessage",
    "WriteOffered",
    "WriteRead",
    "WriteSeen",
]

import msgspec


class WriteMessage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit the record at this position of the mailbox table and write its inbox file.

    Attributes:
        id: of the message; the next sequence id belongs to its first receipt.
        position: of its record in the table.
        key: identifies the request if it is sent again.
        client_key: whether the key is the sender's own (kept for a day) or a gateway's (kept for ten minutes).
        resubmitted: whether the request may have been committed before, under another id.
        refusal: the answer, unless the request was committed before; set if the mailbox is full, for example.
        size_bytes: of the record's body.
        addressee: the name that the sender used, if an alias led the message to another mailbox; otherwise "".
        trace: the W3C `traceparent` of the enclosing span; "" if the request is not traced.
    """

    id: int
    position: int
    key: str
    client_key: bool
    resubmitted: bool
    refusal: "CommandRefused | None" = None
    size_bytes: int = 0
    addressee: str = ""
    trace: str = ""

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to this command."""
        return self.id + 1


class WriteRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit that an agent has read these messages, then remove their inbox files."""

    id: int
    agent: str
    message_ids: list[int]

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to this command."""
        return self.id + max(1, len(self.message_ids)) - 1


class WriteOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit, with the next transaction, that messages or responses of one mailbox were delivered to a reader."""

    id: int
    agent: str
    message_ids: list[int]
    offered_ms: int

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to this command."""
        return self.id + max(1, len(self.message_ids)) - 1


class WriteClear(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Delete at most `limit` messages of one mailbox with ids up to `through_id`, then remove their inbox files."""

    id: int
    agent: str
    through_id: int
    limit: int

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to this command."""
        return self.id


class WriteAlias(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit that a session is an alias of an agent until `expires_ms`; 0 ends the alias."""

    id: int
    session: str
    agent: str
    expires_ms: int

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to this command."""
        return self.id


class IdsAllocated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit the local event that requested these sequence ids with `AllocateIds`.

    Attributes:
        id: the first of `count` sequence ids.
        request: number of the AllocateIds; if the command-queue no longer knows it, it commits nothing.
        agent: the agent behind the name in the request.
    """

    id: int
    count: int
    request: int
    agent: str = ""

    @property
    def last_id(self) -> int:
        """The last sequence id that belongs to this command."""
        return self.id + self.count - 1


class WriteSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Store, with the next transaction, when an agent last called."""

    agent: str
    seen_ms: int


class WriteGone(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Forget, with the next transaction, an agent that has no mail."""

    agent: str


class MessageWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A message is durable; `state` says whether its inbox file is written, `file_error` why not.

    Attributes:
        is_for_team: its entry in the native team inbox is being written; `TeamInboxSettled` follows.
    """

    id: int
    state: int
    file_error: str = ""
    is_for_team: bool = False


class MessageRepeated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request repeats an earlier one with the same key: the message keeps its original id, and this id is void.

    Attributes:
        mailbox: the mailbox of the original, if an alias set or ended since would lead this request elsewhere.
    """

    id: int
    original_id: int
    timestamp_ms: int
    state: int
    file_error: str
    team_error: str = ""
    mailbox: str = ""


class TeamInboxSettled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Whether a message's entry in the native team inbox is written; sent within a quarter of a second.

    Attributes:
        error: empty if it is written; otherwise why it is not, or not yet.
    """

    message_id: int
    error: str


class ReadWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An acknowledgement is durable; `unknown` are ids that are not in this mailbox, `senders` get receipts."""

    id: int
    agent: str
    acknowledged: list[int]
    unknown: list[int]
    senders: list[str]


class StepsWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The command with this id is finished; these senders get receipts."""

    id: int
    senders: list[str]


class MailboxCleared(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Messages of a mailbox are deleted; `more` says whether any are left."""

    id: int
    message_ids: list[int]
    more: bool


class AliasWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An alias is durable, or ended if `expires_ms` is 0."""

    id: int
    session: str
    agent: str
    expires_ms: int


class CommandRefused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A command was refused; nothing of it was written."""

    id: int
    reason: str
    sentence: str
    retry_after_ms: int
    field: str = ""


class AllocateIds(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A local event needs this many sequence ids.

    Attributes:
        request: its number, for `IdsAllocated`.
        name: a session whose agent the event is for, or "".
    """

    request: int
    count: int
    name: str = ""


class MessagesTaken(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An agent removed inbox files: it has read these messages. Durable; answers no command."""

    agent: str
    message_ids: list[int]


class MessagesExpired(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The time to live of these messages ran out. Durable; answers no command."""

    message_ids: list[int]


class MessagesRemoved(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Retention deleted these messages. Durable; answers no command."""

    message_ids: list[int]


class MessageFiled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An inbox file that could not be written at first is written. Durable; answers no command."""

    message_id: int


class ResponseWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A response from an outbox is durable; it is for the subscribers of this agent."""

    agent: str
    response_id: int


class MailboxCounted(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The counts of a mailbox after a transaction; absolute, so that receiving them twice is harmless."""

    name: str
    total: int
    unread: int
    oldest_unread_id: int


class StorageStateChanged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Whether the database accepts messages, and if not, a sentence that says why."""

    writable: bool
    sentence: str = ""


SequencedCommand = WriteMessage | WriteRead | WriteOffered | WriteClear | WriteAlias | IdsAllocated
LazyCommand = WriteSeen | WriteGone  # without an id: nothing waits for them
Command = SequencedCommand | LazyCommand
Outcome = (
    MessageWritten
    | MessageRepeated
    | TeamInboxSettled
    | ReadWritten
    | StepsWritten
    | MailboxCleared
    | AliasWritten
    | CommandRefused
    | AllocateIds
    | MessagesTaken
    | MessagesExpired
    | MessagesRemoved
    | MessageFiled
    | ResponseWritten
    | MailboxCounted
    | StorageStateChanged
)
