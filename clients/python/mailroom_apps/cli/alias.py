"""`mailroom alias` — makes a session an alias of an agent."""

__all__ = ["alias"]

from typing import Annotated

import typer
from mailroom.records import iso_utc

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.options import Address, Json, require_name
from mailroom_apps.cli.output import emit, emit_json
from mailroom_apps.cli.rendering import format_time
from mailroom_apps.printable import printable_line


def alias(
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT", help="The agent's permanent name.", autocompletion=complete_agent, callback=require_name
        ),
    ],
    session: Annotated[
        str,
        typer.Argument(
            metavar="SESSION", help="The session id, which changes with every start.", callback=require_name
        ),
    ],
    ttl: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How long the alias lasts.", show_default="24h"),
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="Remove the alias.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Deliver messages for a session to an agent's mailbox while the alias lasts."""
    if end and ttl is not None:
        raise typer.BadParameter("--end and --ttl cannot be combined", param_hint="--end")
    if ttl == 0:
        raise typer.BadParameter("must be more than 0; use --end to remove the alias", param_hint="--ttl")
    with connect(address) as client:
        expires_at = client.set_alias(agent, session, ttl=0 if end else ttl)
    if json:
        expiry = iso_utc(expires_at) if expires_at else None
        emit_json({"agent": agent, "session": session, "expires_at": expiry})
    elif expires_at:
        emit(f"{printable_line(session)} is an alias of {printable_line(agent)} until {format_time(expires_at)}")
    else:
        emit(f"{printable_line(session)} is no longer an alias of {printable_line(agent)}")
