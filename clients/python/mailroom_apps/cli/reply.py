"""`mailroom reply` — answers a message: to its sender, in its thread, under the name that it was sent to."""

__all__ = ["reply"]

import os
from typing import Annotated

import typer

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json, MessageId
from mailroom_apps.cli.output import emit, emit_json
from mailroom_apps.cli.sending import Content, Key, Metadata, Priority, Ttl, Type, delivery_text, read_content


def reply(
    message_id: MessageId,
    content: Content = None,
    sender: Annotated[
        str | None, typer.Option("--from", help="Your name.", show_default="MAILROOM_AGENT, else whom ID was sent to")
    ] = None,
    type_: Type = "text",
    priority: Priority = None,
    ttl: Ttl = None,
    metadata: Metadata = None,
    key: Key = None,
    ack: Annotated[bool, typer.Option("--ack", help="Mark the message that is answered read.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Answers a message: goes to its sender, in its thread."""
    text = read_content(content)
    with connect(address) as client:
        answered = client.get_message(message_id).message
        sent = client.send(
            answered.sender,
            text,
            sender=sender or os.environ.get("MAILROOM_AGENT") or answered.recipient,
            type=type_,
            thread_id=answered.thread_id,
            in_reply_to=answered.id,
            priority=priority,
            ttl=ttl,
            metadata=metadata,
            idempotency_key=key,
        )
        if ack:
            client.acknowledge(answered.recipient, answered.id)
    emit_json(sent.to_dict()) if json else emit(delivery_text(sent.id, sent.delivery))
