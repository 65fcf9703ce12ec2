"""Draft and Message — mail as its sender submitted it, and as the daemon stored it.

Owns their types and the packed form of a draft (msgpack), which table records and request packets carry. The fields
are declared in `mailroom.message_fields`, with their limits and all names that they have elsewhere.
Not here: the contract's protobuf messages (`gateway.conversion`), the inbox file's JSON (`mailroom.inbox_file`).
Invariant: a Draft is valid (`core.validation`) before it is packed, and equal drafts pack to equal bytes.
"""

__all__ = ["Draft", "Message", "Priority", "pack_draft", "unpack_draft"]

from enum import IntEnum

import msgspec

from mailroomd.model.states import DeliveryState


class Priority(IntEnum):
    """How urgent a message is; the values are those of the contract."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    URGENT = 4


class Draft(msgspec.Struct, frozen=True, array_like=True):
    """One message as its sender submitted it: the fields of `mailroom.message_fields`, in their order.

    Attributes:
        recipient: name of the mailbox.
        sender: name of the sender.
        content: up to 1 MiB of UTF-8.
        type: "text" unless the sender chose another.
        metadata: a JSON object as bytes, with sorted keys, so that equal objects are equal bytes.
        thread_id: empty if none.
        in_reply_to: id of the message that this one answers, 0 if none.
        priority: a `Priority`.
        ttl_ms: time to live in milliseconds, 0 for unlimited.
        verified: the sender proved its name with its own token. Two requests that differ only in this field count as
            the same request.
        reply_by_ms: by when its sender wants an answer, in milliseconds since 1970; 0 if it named no time.
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
    reply_by_ms: int = 0


class Message(msgspec.Struct, frozen=True):
    """One message as it is stored.

    Attributes:
        id: its sequence id.
        timestamp_ms: when the daemon accepted it, in milliseconds since 1970, UTC.
        state: its delivery state when it was read.
        draft: what its sender submitted.
    """

    id: int
    timestamp_ms: int
    state: DeliveryState
    draft: Draft

    @property
    def expires_ms(self) -> int:
        """When it expires, in milliseconds since 1970; 0 for never."""
        return self.timestamp_ms + self.draft.ttl_ms if self.draft.ttl_ms else 0


pack_draft = msgspec.msgpack.Encoder().encode
unpack_draft = msgspec.msgpack.Decoder(Draft).decode
