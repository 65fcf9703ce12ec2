"""`mailroom clear` — deletes all messages of a mailbox after confirmation."""

__all__ = ["clear"]

import sys
from typing import Annotated

import typer

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Agent, Json, require_name
from mailroom_apps.cli.output import emit, emit_json
from mailroom_apps.printable import printable_line


def clear(
    agent: Agent,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who clears it in the agent's place; the daemon's log says so.",
            autocompletion=complete_agent,
            callback=require_name,
        ),
    ] = None,
    json: Json = False,
    address: Address = None,
) -> None:
    """Delete every message of a mailbox, read and unread, and its inbox files. This cannot be undone."""
    with connect(address) as client:
        if not yes:
            [mailbox] = client.stats(agent)
            _confirm(f"Delete all {mailbox.total} messages of {printable_line(agent)} ({mailbox.unread} unread)?")
        deleted = client.clear(agent, by=by)
    emit_json({"agent": agent, "deleted": deleted}) if json else emit(f"{deleted} deleted")


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("cannot ask for confirmation without a terminal: add --yes", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)
