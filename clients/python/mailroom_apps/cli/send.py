"""`mailroom send` — sends one message, and warns if the recipient is unknown."""

__all__ = ["send"]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.errors import MailroomError
from mailroom.options import SendOptions

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Json, require_name
from mailroom_apps.cli.output import emit, emit_json, emit_note
from mailroom_apps.cli.sending import (
    AllowEmpty,
    Content,
    Sender,
    choose_sender,
    read_content,
    render_delivery,
    takes_message_options,
)
from mailroom_apps.names import near_names
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

Recipient = Annotated[
    str,
    typer.Argument(
        metavar="TO",
        help="The recipient: an agent's name, a session id, or agent@team.",
        autocompletion=complete_agent,
        show_default=False,
        callback=require_name,
    ),
]

LOOK_UP_TIMEOUT_SEC = 2.0  # for suggestions, after the message was sent


@takes_message_options
def send(
    to: Recipient,
    content: Content = None,
    *,
    sender: Sender = None,
    options: SendOptions,
    reply_to: Annotated[str | None, typer.Option(metavar="ID", help="The message that this one answers.")] = None,
    allow_empty: AllowEmpty = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Send a message, and return once it is durable."""
    text = read_content(content, allow_empty=allow_empty)
    options["sender"], options["in_reply_to"] = choose_sender(sender), reply_to
    with connect(address) as client:
        sent = client.send(to, text, **options)
        emit_json(sent.to_dict()) if json else emit(render_delivery(sent.id, sent.delivery))
        if not sent.delivery.recipient_known and ":" not in to:  # of agents elsewhere nothing is known here
            emit_note(_unknown_recipient(to, sent.delivery.also_at, client))


def _unknown_recipient(recipient: str, also_at: Sequence[str], client: "Mailroom") -> str:
    note = (
        f'Unknown recipient "{recipient}": no agent with this name has connected yet. '
        "The message is stored and will be delivered when it does."
    )
    if also_at:
        addresses = " or ".join(printable_line(f"{recipient}:{host}") for host in also_at)
        return f"{note} An agent of this name is on another host: {addresses}."
    try:
        known = [stats.agent_id for stats in client.stats(timeout=LOOK_UP_TIMEOUT_SEC) if stats.last_seen]
    except MailroomError:  # the message was sent, so a missing suggestion is no failure
        known = []
    near = near_names(recipient, known)
    return f"{note} Did you mean {' or '.join(near)}?" if near else note
