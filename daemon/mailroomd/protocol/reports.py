"""Reports — what the command-queue tells the mailbox besides the outcomes of its commands.

Owns their shapes. All of them are in the past tense and durable, except AllocateIds, which asks for sequence ids: a
local event (`protocol.local_events`) is committed under ids that the mailbox allocates (`IdsAllocated`).
"""

__all__ = [
    "AllocateIds",
    "MailboxCounted",
    "Report",
    "ResponseStored",
    "StatesAdvanced",
    "StorageStateChanged",
    "TeamInboxSettled",
]

import msgspec


class AllocateIds(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A local event needs this many sequence ids.

    Attributes:
        request: its number, for `IdsAllocated`.
        name: a session whose agent the event is for, or "".
    """

    request: int
    count: int
    name: str = ""


class StatesAdvanced(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Messages moved on without a command.

    Attributes:
        state: a `DeliveryState`: READ if an agent removed their files or its team ended, OFFERED if it took their
            entries in a team inbox, EXPIRED if their time to live ran out, FILED if a delayed file is written, VOIDED
            if retention deleted them.
    """

    state: int
    message_ids: list[int]


class TeamInboxSettled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Whether a message's entry in the native team inbox is written; sent within a quarter of a second.

    Attributes:
        error: empty if it is written; otherwise why it is not, or not yet.
    """

    message_id: int
    error: str


class ResponseStored(msgspec.Struct, frozen=True, array_like=True, tag=True):
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


Report = AllocateIds | StatesAdvanced | TeamInboxSettled | ResponseStored | MailboxCounted | StorageStateChanged
