"""`mailroom clear` — deletes a mailbox, after asking."""

__all__ = ["clear"]

import sys
from typing import Annotated

import typer

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.options import Address, Agent, Json
from mailroom_apps.cli.output import emit, emit_json
from mailroom_apps.printable import printable_line


def clear(
    agent: Agent,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Deletes every message of a mailbox, read and unread, and its inbox files. There is no way back."""
    with connect(address) as client:
        if not yes:
            [mailbox] = client.stats(agent)
            _ask(f"Delete all {mailbox.total} messages of {printable_line(agent)}, {mailbox.unread} of them unread?")
        deleted = client.clear(agent)
    emit_json({"agent": agent, "deleted": deleted}) if json else emit(f"{deleted} deleted")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: add --yes", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)
