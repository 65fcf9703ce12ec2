"""Announcement — what a stream carries, each with a place in the one order: messages, receipts, command responses.

Owns the shapes of receipts and responses. Not here: messages (`model.message`), the contract's events (`gateway.encoding`).
"""

__all__ = ["Announcement", "Receipt", "Response"]

import msgspec

from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState


class Receipt(msgspec.Struct, frozen=True):
    """One step of a message, for its sender.

    Attributes:
        id: its place in the order.
        sender: who hears it.
        message_id: of the message.
        recipient: the mailbox that the message is in.
        state: that the message came to.
        timestamp_ms: when, milliseconds since 1970.
    """

    id: int
    sender: str
    message_id: int
    recipient: str
    state: DeliveryState
    timestamp_ms: int


class Response(msgspec.Struct, frozen=True):
    """A response that an agent left in its outbox.

    Attributes:
        id: its place in the order.
        agent: who hears it: the session, or the agent that was behind it.
        session: in whose outbox it lay.
        file_name: of the file.
        state: FILED, or OFFERED once it was handed to a subscriber.
        timestamp_ms: when the mail room took it in, milliseconds since 1970.
        body: a JSON object, up to 3 MiB.
    """

    id: int
    agent: str
    session: str
    file_name: str
    state: DeliveryState
    timestamp_ms: int
    body: bytes


Announcement = Message | Receipt | Response
