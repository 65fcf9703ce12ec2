"""Draft and Message — what a sender hands in, and what the mail room makes of it.

Owns their shape and their packed form (msgpack of a Draft): the payload of a table record and of a request packet.
Not here: the contract's protobuf messages (`gateway.conversion`), the inbox file's JSON (`mailroom.inbox_file`).
Invariant: a Draft is valid (`core.validation`) before it is packed, and equal drafts pack to equal bytes.
"""

__all__ = ["Draft", "Message", "Priority", "pack_draft", "unpack_draft"]

from enum import IntEnum

import msgspec

from mailroomd.model.states import DeliveryState


class Priority(IntEnum):
    """How urgent a message is; the numbers are those of the contract."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    URGENT = 4


class Draft(msgspec.Struct, frozen=True, array_like=True):
    """One message as its sender gave it.

    Attributes:
        recipient: the mailbox's name.
        sender: the sender's name.
        content: up to 1 MiB of UTF-8.
        type: "text" unless the sender said otherwise.
        metadata: a JSON object as bytes, keys sorted, so that equal objects are equal bytes.
        thread_id: empty if none.
        in_reply_to: id of the message that this one answers, 0 if none.
        priority: a `Priority`.
        ttl_ms: time to live in milliseconds, 0 for no end.
        verified: the sender proved its name with a token of its own. It is not part of what the sender asks for, so two
            requests that differ in it alone are the same request.
    """

    recipient: str
    sender: str
    content: str
    type: str = "text"
    metadata: bytes = b"{}"
    thread_id: str = ""
    in_reply_to: int = 0
    priority: int = Priority.NORMAL
    ttl_ms: int = 0
    verified: bool = False


class Message(msgspec.Struct, frozen=True):
    """One message as it is stored.

    Attributes:
        id: its number in the one order.
        timestamp_ms: when the mail room took it in, milliseconds since 1970, UTC.
        state: how far it has come, at the moment of reading.
        draft: what its sender gave.
    """

    id: int
    timestamp_ms: int
    state: DeliveryState
    draft: Draft

    @property
    def expires_ms(self) -> int:
        """When it expires, milliseconds since 1970; 0 for never."""
        return self.timestamp_ms + self.draft.ttl_ms if self.draft.ttl_ms else 0


pack_draft = msgspec.msgpack.Encoder().encode
unpack_draft = msgspec.msgpack.Decoder(Draft).decode
