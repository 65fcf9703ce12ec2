"""`mailroom ack` — marks messages read."""

__all__ = ["ack"]

from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.messages import Acknowledgement

from mailroom_apps.cli.completion import complete_unread
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.exit_codes import ExitCode
from mailroom_apps.cli.options import Address, Agent, Json
from mailroom_apps.cli.output import emit, emit_json, remark

if TYPE_CHECKING:
    from mailroom.blocking import Mailroom

PORTION = 1000  # the most that one CheckInbox returns


def ack(
    agent: Agent,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Messages.", autocompletion=complete_unread, show_default=False),
    ] = None,
    all_unread: Annotated[bool, typer.Option("--all", help="Everything that is unread now.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Marks messages read and takes their inbox files away. Repeating it is harmless."""
    if bool(ids) == all_unread:
        raise typer.BadParameter("give ids, or --all", param_hint="ID")
    with connect(address) as client:
        done = client.acknowledge(agent, ids) if ids else _acknowledge_all(client, agent)
    emit_json(done.to_dict()) if json else emit(f"{len(done.acknowledged_ids)} acknowledged")
    if done.unknown_ids:
        remark(f"{agent} has no message {', '.join(done.unknown_ids)}")
        raise typer.Exit(ExitCode.REFUSED)


def _acknowledge_all(client: "Mailroom", agent: str) -> Acknowledgement:
    """Acknowledges what is unread now; what comes in meanwhile stays unread."""
    newest = client.check_inbox(agent, limit=1, observe=True, newest_first=True)
    parts: list[Acknowledgement] = []
    while newest:
        unread = [message.id for message in client.check_inbox(agent, limit=PORTION, observe=True)]
        ids = [name for name in unread if name <= newest.messages[0].id]
        if not ids:
            break
        parts.append(client.acknowledge(agent, ids))
        if not parts[-1].acknowledged_ids:
            break
    return Acknowledgement.joined(parts)
