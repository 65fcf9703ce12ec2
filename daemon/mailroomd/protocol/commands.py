"""Commands and outcomes — what the mailbox orders of the command-queue, and what became of it.

Owns the vocabulary of `writes` (imperatives) and `outcomes` (past tense). A command with an id is answered by an
outcome with that id; one without is carried out when something else is committed anyway, and not answered. A command
owns the numbers from its id to its `last_id`: places in the one order for the receipts that it may cause. What the
command-queue found by itself (`protocol.local_events`) needs places, too: it asks by `AllocateIds`, `IdsAllocated` orders it. Not
here: the handshake of the queues (`ipc.link`).
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
    "OrderedCommand",
    "Outcome",
    "ReadWritten",
    "ResponseWritten",
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
    """Commit the record at this position of the table and write its inbox file.

    Attributes:
        id: the message's; the number behind it is the place of its first receipt.
        position: of its record in the table.
        key: under which the same request is recognised.
        client_key: the key is its sender's own (kept a day), not a gateway's (kept ten minutes).
        resubmitted: the request may have been committed before, under another id.
        refusal: the answer, unless the request was committed before: its mailbox is full now, say.
        size_bytes: of the record's body.
        addressee: the name that the sender wrote, where an alias led the message elsewhere.
        trace: the W3C `traceparent` of what this is a part of; "" where nothing is traced.
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
        """The last number that is this command's."""
        return self.id + 1


class WriteRead(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit that an agent has read these messages, then take their files away."""

    id: int
    agent: str
    message_ids: list[int]

    @property
    def last_id(self) -> int:
        """The last number that is this command's."""
        return self.id + max(1, len(self.message_ids)) - 1


class WriteOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Note, with the next transaction, that messages or responses of one mailbox were handed over."""

    id: int
    agent: str
    message_ids: list[int]
    offered_ms: int

    @property
    def last_id(self) -> int:
        """The last number that is this command's."""
        return self.id + max(1, len(self.message_ids)) - 1


class WriteClear(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Delete messages of one mailbox, up to an id and so many at most, then take their files away."""

    id: int
    agent: str
    through_id: int
    limit: int

    @property
    def last_id(self) -> int:
        """The last number that is this command's."""
        return self.id


class WriteAlias(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit which agent is behind a session until a moment; 0 ends the alias."""

    id: int
    session: str
    agent: str
    expires_ms: int

    @property
    def last_id(self) -> int:
        """The last number that is this command's."""
        return self.id


class IdsAllocated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit, here in the order, what was found and asked for places by `AllocateIds`.

    Attributes:
        id: the first of `count` numbers.
        request: the number of the AllocateIds; one that the command-queue does not know (any more) does nothing.
        agent: whose mailbox is behind the name that the request gave.
    """

    id: int
    count: int
    request: int
    agent: str = ""

    @property
    def last_id(self) -> int:
        """The last number that is this command's."""
        return self.id + self.count - 1


class WriteSeen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Note, with the next transaction, when an agent was last there."""

    agent: str
    seen_ms: int


class WriteGone(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Forget, with the next transaction, an agent that has no mail."""

    agent: str


class MessageWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A message is durable; its state says whether its file is there, `file_error` why not.

    Attributes:
        is_for_team: its entry in the native team inbox is under way; `TeamInboxSettled` follows.
    """

    id: int
    state: int
    file_error: str = ""
    is_for_team: bool = False


class MessageRepeated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request was recognised by its key: the message exists under its original id, this id is void.

    Attributes:
        mailbox: where it is, if that is not where this request would have gone: an alias came or went between the two.
    """

    id: int
    original_id: int
    timestamp_ms: int
    state: int
    file_error: str
    team_error: str = ""
    mailbox: str = ""


class TeamInboxSettled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What became of a message's entry in the native team inbox, at the latest after a quarter of a second.

    Attributes:
        error: empty if it is there, else why it is not, or not yet.
    """

    message_id: int
    error: str


class ReadWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An acknowledgement is durable; `unknown` are ids that are not in this mailbox, `senders` have receipts."""

    id: int
    agent: str
    acknowledged: list[int]
    unknown: list[int]
    senders: list[str]


class StepsWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The command of this id is committed; these senders have receipts, no names may mean anybody."""

    id: int
    senders: list[str]


class MailboxCleared(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A slice of a mailbox is deleted; `more` says that messages are left."""

    id: int
    message_ids: list[int]
    more: bool


class AliasWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An alias is durable, or ended where `expires_ms` is 0."""

    id: int
    session: str
    agent: str
    expires_ms: int


class CommandRefused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Nothing of this command was written."""

    id: int
    reason: str
    sentence: str
    retry_after_ms: int
    field: str = ""


class AllocateIds(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The command-queue has found something that needs so many places in the order.

    Attributes:
        request: its number, for `IdsAllocated`.
        name: a session whose agent is to be told, or "".
    """

    request: int
    count: int
    name: str = ""


class MessagesTaken(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """An agent took inbox files away: it has read these messages. Durable; nobody ordered it."""

    agent: str
    message_ids: list[int]


class MessagesExpired(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The time to live of these messages ran out. Durable; nobody ordered it."""

    message_ids: list[int]


class MessagesRemoved(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Retention deleted these messages. Durable; nobody ordered it."""

    message_ids: list[int]


class MessageFiled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A file that could not be written at first is there now. Durable; nobody ordered it."""

    message_id: int


class ResponseWritten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A response that an agent left in its outbox is durable, for the subscribers of this agent."""

    agent: str
    response_id: int


class MailboxCounted(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """How a mailbox stands after a transaction that touched it; absolute, so that hearing it twice is harmless."""

    name: str
    total: int
    unread: int
    oldest_unread_id: int


class StorageStateChanged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The database takes messages again, or doesn't: the sentence says why."""

    writable: bool
    sentence: str = ""


OrderedCommand = WriteMessage | WriteRead | WriteOffered | WriteClear | WriteAlias | IdsAllocated
LazyCommand = WriteSeen | WriteGone  # without a number: nobody waits for it
Command = OrderedCommand | LazyCommand
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
