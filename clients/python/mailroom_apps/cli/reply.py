"""`mailroom reply` — answers a message: to its sender, in its thread, under the name that it was sent to."""

__all__ = ["reply"]

from typing import Annotated

import typer
from mailroom.options import SendOptions

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json, MessageId
from mailroom_apps.cli.output import emit, emit_json
from mailroom_apps.cli.sending import (
    AllowEmpty,
    Content,
    choose_sender,
    read_content,
    render_delivery,
    takes_message_options,
)


@takes_message_options
def reply(
    message_id: MessageId,
    content: Content = None,
    *,
    sender: Annotated[
        str | None,
        typer.Option("--from", help="The sender's name.", show_default="MAILROOM_AGENT, or the recipient of ID"),
    ] = None,
    options: SendOptions,
    allow_empty: AllowEmpty = False,
    ack: Annotated[bool, typer.Option("--ack", help="Mark the answered message as read.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Answer a message. The reply goes to its sender, by default in the same thread."""
    text, chosen = read_content(content, allow_empty=allow_empty), choose_sender(sender)
    with connect(address) as client:
        original = client.get_message(message_id).message
        options["sender"] = original.recipient if chosen is None else chosen
        options["thread_id"] = options.get("thread_id") or original.thread_id
        options["in_reply_to"] = original.id
        sent = client.send(original.sender, text, **options)
        if ack:
            client.acknowledge(original.recipient, original.id)
    emit_json(sent.to_dict()) if json else emit(render_delivery(sent.id, sent.delivery))
