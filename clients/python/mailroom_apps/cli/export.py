"""`mailroom export` — prints messages as JSON lines, in the form that `--json` has everywhere."""

__all__ = ["export"]

from typing import Annotated

import typer
from mailroom.options import ListOptions

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, ThreadFilter, Unread, require_name
from mailroom_apps.cli.output import emit_json


def export(
    agents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[AGENT]...",
            help="Mailboxes; all by default.",
            autocompletion=complete_agent,
            callback=require_name,
        ),
    ] = None,
    unread: Unread = False,
    thread: ThreadFilter = None,
    query: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only messages that contain all of these words.")
    ] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Only messages after this one.")] = "",
    address: Address = None,
) -> None:
    """Print messages as JSON lines, newest first in each mailbox."""
    options = ListOptions(unread_only=unread, thread_id=thread, query=query)
    with connect(address) as client:
        for agent in agents or [None]:
            for message in client.iter_messages(agent, **options):
                if message.id <= after:  # they come newest first
                    break
                emit_json(message.to_dict())
