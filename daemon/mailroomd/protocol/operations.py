"""Operations — what can be done to mail, and the result of each: the same two values from the gateway to the disk.

Owns the pairs Send → Sent, Acknowledge → Acknowledged, Clear → Cleared; the others, such as MarkOffered and SetAlias,
have nothing to return (Done). Refused takes the place of any result. An operation is an imperative, a result is in the
past tense; both travel unchanged inside the envelopes of `protocol.packets`.
Not here: the body of a message, which travels beside its operation and is decoded only where it is stored or shown.
"""

__all__ = [
    "Acknowledge",
    "Acknowledged",
    "Clear",
    "Cleared",
    "Confirm",
    "Done",
    "ForwardedReceipt",
    "GiveUp",
    "IdsAllocated",
    "Intend",
    "MarkOffered",
    "Operation",
    "Origin",
    "RecordReceipts",
    "Refused",
    "Result",
    "Return",
    "Send",
    "Sent",
    "SetAlias",
]

import msgspec


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Where an item from another host comes from: its position there, and that of the item before it.

    Attributes:
        host: that sent it.
        run, id: its position (`core.forwarding.position`).
        after_run, after_id: the position of the item that it follows.
    """

    host: str
    run: int
    id: int
    after_run: int
    after_id: int


class Send(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Store, file and announce one message. Result: Sent.

    Attributes:
        recipient: as the sender named it; an alias may lead the message to another mailbox.
        verified: whether the sender proved its name.
        key: identifies the request if it is made again.
        is_client_key: whether the key is the sender's own (kept for a day) or a gateway's (kept for ten minutes).
        digest: of the request, which tells it from another one under the same key; only with the sender's own key.
        origin: of a message from another host, which has no key: its position tells whether it was stored before. A
            refusal of it is stored, too, and returns the message to its sender.
    """

    recipient: str
    sender: str
    verified: bool
    key: str
    is_client_key: bool = False
    digest: bytes = b""
    origin: Origin | None = None


class Acknowledge(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mark messages of one mailbox read, and remove their inbox files. Result: Acknowledged.

    Attributes:
        by: who acknowledges them in the recipient's place, "" for the recipient.
    """

    mailbox: str
    message_ids: list[int]
    by: str = ""


class MarkOffered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Mark messages or responses of one mailbox as delivered to a reader. Result: Done.

    Attributes:
        offered_ms: when, in milliseconds since 1970; the mailbox sets it when it submits the marks that it gathered.
    """

    mailbox: str
    message_ids: list[int]
    offered_ms: int = 0


class Clear(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Delete at most `limit` messages of one mailbox with ids up to `through_id`, and their files. Result: Cleared.

    Attributes:
        through_id: nothing newer than the operation is deleted, whatever it says.
    """

    mailbox: str
    through_id: int
    limit: int


class SetAlias(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Make a session an alias of an agent until `expires_ms`; 0 ends the alias. Result: Done."""

    session: str
    agent: str
    expires_ms: int


class Intend(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Record, before they are published, that items up to a position leave for a host. Result: Done."""

    host: str
    run: int
    id: int


class Confirm(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Forget what a host has stored: by run, the items up to an id. Result: Done."""

    host: str
    stored: dict[int, int]


class ForwardedReceipt(msgspec.Struct, frozen=True, array_like=True):
    """A receipt from another host.

    Attributes:
        origin: its own position.
        message_run, message_id: the message of this host that it is for.
        state: that the message reached, a `DeliveryState`.
        timestamp_ms: when, in milliseconds since 1970.
        reason: why the message was returned, or "".
    """

    origin: Origin
    message_run: int
    message_id: int
    state: int
    timestamp_ms: int
    reason: str = ""


class RecordReceipts(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Store receipts from another host, each under a sequence id of its own. Result: Done."""

    receipts: list[ForwardedReceipt]


class Return(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Give a message from another host back to it: it cannot be stored here. Result: Done.

    Attributes:
        origin: its position.
        reason: why, for its sender.
    """

    origin: Origin
    reason: str


class GiveUp(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Forget items that wait for a host: it will never store them. The messages return to their senders, each with a
    receipt. Result: Done.

    Attributes:
        host: that was removed.
        ids: of the items.
        reason: for the senders.
    """

    host: str
    ids: list[int]
    reason: str


class IdsAllocated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit the local event that requested the sequence ids of this command with `AllocateIds`. Result: Done.

    Attributes:
        request: number of the AllocateIds; if the command-queue no longer knows it, it commits nothing.
        agent: the agent behind the name in the request.
    """

    request: int
    agent: str = ""


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A message is durable.

    Attributes:
        id: of the message; of the first one, if the request repeats an earlier one.
        timestamp_ms: when the daemon accepted it, in milliseconds since 1970.
        state: its `DeliveryState`.
        mailbox: where it is.
        file_error: why its inbox file is not written yet.
        team_error: why its entry in the native team inbox is not written yet.
        is_repeated: whether the request repeats an earlier one with the same key.
        awaits_team: its entry in the native team inbox is being written; `TeamInboxSettled` follows.
        first_verified: whether the sender of the first request had proved its name; None if this request is the first,
            or if its message is deleted.
    """

    id: int
    timestamp_ms: int
    state: int
    mailbox: str
    file_error: str = ""
    team_error: str = ""
    is_repeated: bool = False
    awaits_team: bool = False
    first_verified: bool | None = None


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """These messages are read, now or before; `unknown_ids` are not in this mailbox."""

    message_ids: list[int]
    unknown_ids: list[int]


class Cleared(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """These messages are deleted; `has_more` says whether any are left up to `through_id`."""

    message_ids: list[int]
    through_id: int
    has_more: bool


class Done(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The operation is finished, and has nothing to return."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The operation was refused: nothing was written.

    Attributes:
        reason: a `Reason`.
        sentence: what is wrong and what to do.
        field: of the client's request, if one is at fault.
        retry_after_ms: when to retry; 0 if that will not help.
    """

    reason: str
    sentence: str
    field: str = ""
    retry_after_ms: int = 0


Operation = (
    Send
    | Acknowledge
    | MarkOffered
    | Clear
    | SetAlias
    | Intend
    | Confirm
    | RecordReceipts
    | Return
    | GiveUp
    | IdsAllocated
)
Result = Sent | Acknowledged | Cleared | Done | Refused
