"""`mailroom ack` — marks messages as read."""

__all__ = ["ack"]

from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.messages import Acknowledgement

from mailroom_apps.cli.completion import complete_agent, complete_unread
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address, Agent, Json, require_name
from mailroom_apps.cli.output import emit, emit_json, emit_note

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

PAGE_SIZE = 1000  # the maximum of CheckInbox


def ack(
    agent: Agent,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Message ids.", autocompletion=complete_unread, show_default=False),
    ] = None,
    all_unread: Annotated[bool, typer.Option("--all", help="Mark all messages that are unread now.")] = False,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who acknowledges in the agent's place; receipt and history say so.",
            autocompletion=complete_agent,
            callback=require_name,
        ),
    ] = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Mark messages as read and remove their inbox files. Repeating it is harmless."""
    if bool(ids) == all_unread:
        raise typer.BadParameter("give message ids or --all", param_hint="ID")
    with connect(address) as client:
        acknowledgement = client.acknowledge(agent, ids, by=by) if ids else _acknowledge_all(client, agent, by)
    emit_json(acknowledgement.to_dict()) if json else emit(f"{len(acknowledgement.acknowledged_ids)} acknowledged")
    if acknowledgement.unknown_ids:
        emit_note(f"{agent} has no message {', '.join(acknowledgement.unknown_ids)}")
        raise typer.Exit(ExitCode.REFUSED)


def _acknowledge_all(client: "Mailroom", agent: str, by: str | None) -> Acknowledgement:
    """Acknowledges every message that is unread now; messages that arrive meanwhile stay unread."""
    newest = client.check_inbox(agent, limit=1, observe=True, newest_first=True)
    parts: list[Acknowledgement] = []
    while newest:
        unread_ids = [message.id for message in client.check_inbox(agent, limit=PAGE_SIZE, observe=True)]
        ids = [message_id for message_id in unread_ids if message_id <= newest.messages[0].id]
        if not ids:
            break
        parts.append(client.acknowledge(agent, ids, by=by))
        if not parts[-1].acknowledged_ids:
            break
    return Acknowledgement.joined(parts)
