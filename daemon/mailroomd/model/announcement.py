"""Announcement — an item of a stream, with its sequence id in the global sequence: message, receipt or response.

Owns the shapes of receipts and responses. Not here: messages (`model.message`), the contract's events
(`gateway.encoding`).
"""

__all__ = ["Announcement", "Receipt", "Response"]

import msgspec

from mailroomd.model.message import Message
from mailroomd.model.states import DeliveryState


class Receipt(msgspec.Struct, frozen=True):
    """One delivery state that a message reached, for its sender.

    Attributes:
        id: its sequence id.
        sender: the agent that receives it.
        message_id: of the message.
        recipient: the mailbox that the message is in.
        state: the state that the message reached.
        timestamp_ms: when, in milliseconds since 1970.
        by: who acknowledged it in the recipient's place, "" for the recipient.
        reason: why it was returned, "" if it was not.
    """

    id: int
    sender: str
    message_id: int
    recipient: str
    state: DeliveryState
    timestamp_ms: int
    by: str = ""
    reason: str = ""


class Response(msgspec.Struct, frozen=True):
    """A response that an agent left in its outbox.

    Attributes:
        id: its sequence id.
        agent: the agent that receives it: the session, or the agent behind it.
        session: the owner of the outbox.
        file_name: of the outbox file.
        state: FILED, or OFFERED once it was delivered to a subscriber.
        timestamp_ms: when the daemon accepted it, in milliseconds since 1970.
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
