"""`mailroom send` — sends one message, and warns when nobody of that name has been seen."""

__all__ = ["send"]

from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.errors import MailroomError

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json
from mailroom_apps.cli.output import emit, emit_json, remark
from mailroom_apps.cli.sending import (
    Content,
    Key,
    Metadata,
    Priority,
    Sender,
    Thread,
    Ttl,
    Type,
    delivery_text,
    read_content,
)
from mailroom_apps.names import near_names

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

Recipient = Annotated[
    str,
    typer.Argument(metavar="TO", help="Session id, or agent@team.", autocompletion=complete_agent, show_default=False),
]

LOOK_UP_TIMEOUT_SEC = 2.0  # for suggestions, once the message is on its way


def send(
    to: Recipient,
    content: Content = None,
    sender: Sender = None,
    type_: Type = "text",
    thread: Thread = None,
    reply_to: Annotated[str | None, typer.Option(help="Id of the message that it answers.")] = None,
    priority: Priority = None,
    ttl: Ttl = None,
    metadata: Metadata = None,
    key: Key = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Sends a message; returns once it is durable."""
    text = read_content(content)
    with connect(address) as client:
        sent = client.send(
            to,
            text,
            sender=sender,
            type=type_,
            thread_id=thread,
            in_reply_to=reply_to,
            priority=priority,
            ttl=ttl,
            metadata=metadata,
            idempotency_key=key,
        )
        emit_json(sent.to_dict()) if json else emit(delivery_text(sent.id, sent.delivery))
        if not sent.delivery.recipient_known:
            remark(_warning(to, client))


def _warning(recipient: str, client: "Mailroom") -> str:
    warning = f"nobody called {recipient} has been here yet; the message waits for them"
    try:
        seen = [stats.agent_id for stats in client.stats(timeout=LOOK_UP_TIMEOUT_SEC) if stats.last_seen]
    except MailroomError:  # the message is sent: a missing suggestion is no failure
        seen = []
    near = near_names(recipient, seen)
    return f"{warning}. Did you mean {' or '.join(near)}?" if near else f"{warning}."
