"""`mailroom broadcast` — sends an independent copy to each of several recipients."""

__all__ = ["broadcast"]

from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.messages import SendOutcome
from mailroom.options import SendOptions

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address, Json, require_name
from mailroom_apps.cli.output import emit_records
from mailroom_apps.cli.sending import (
    AllowEmpty,
    Sender,
    choose_sender,
    delivery_errors,
    read_content,
    takes_message_options,
)
from mailroom_apps.printable import printable_line

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

_HEADERS = ("RECIPIENT", "ID", "STATE", "REMARK")

_Recipients = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TO...",
        help="Recipients.",
        autocompletion=complete_agent,
        show_default=False,
        callback=require_name,
    ),
]


@takes_message_options
def broadcast(
    content: Annotated[str, typer.Argument(metavar="CONTENT", help="The text, or - to read it from stdin.")],
    to: _Recipients = None,
    *,
    all_alive: Annotated[bool, typer.Option("--all-alive", help="Send to every live agent except the sender.")] = False,
    sender: Sender = None,
    options: SendOptions,
    allow_empty: AllowEmpty = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Send a copy to each recipient. A failure does not stop the others, but the exit code is 1."""
    if bool(to) == all_alive:
        raise typer.BadParameter("give recipients or --all-alive", param_hint="TO")
    text = read_content(content, allow_empty=allow_empty)
    options["sender"] = choose_sender(sender)
    with connect(address) as client:
        outcomes = client.broadcast(to or _live_agents(client, sender), text, **options)
    emit_records(outcomes, _HEADERS, _row, json=json, empty_note="no agent is alive; nothing was sent")
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(ExitCode.REFUSED)


def _live_agents(client: "Mailroom", sender: str | None) -> list[str]:
    own_name = sender or client.sender
    return [agent.name for agent in client.agents(alive_only=True) if agent.name != own_name]


def _row(outcome: SendOutcome) -> tuple[str, ...]:
    recipient = printable_line(outcome.recipient)
    if outcome.error:
        return (recipient, "-", "not sent", printable_line(outcome.error.message))
    assert outcome.sent is not None
    delivery = outcome.sent.delivery
    remarks = [] if delivery.recipient_known else ["unknown recipient"]
    return (recipient, outcome.sent.id, delivery.state, "; ".join([*remarks, *delivery_errors(delivery)]))
