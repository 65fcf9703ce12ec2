"""`mailroom alias` — says which agent is behind a session."""

__all__ = ["alias"]

from typing import Annotated

import typer
from mailroom.records import iso_utc

from mailroom_apps.cli.completion import complete_agent
from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.options import Address, Json
from mailroom_apps.cli.output import emit, emit_json
from mailroom_apps.cli.rendering import moment_text
from mailroom_apps.printable import printable_line


def alias(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The name that lasts.", autocompletion=complete_agent)],
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The name that changes with every start.")],
    ttl: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How long from now on.", show_default="24h"),
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="End the alias instead.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Leads mail for a session to the agent's mailbox, as long as the alias lasts."""
    if end and ttl is not None:
        raise typer.BadParameter("--end and --ttl exclude each other", param_hint="--end")
    if ttl == 0:
        raise typer.BadParameter("an alias for no time is none: use --end", param_hint="--ttl")
    with connect(address) as client:
        expires_at = client.set_alias(agent, session, ttl=0 if end else ttl)
    if json:
        expiry = iso_utc(expires_at) if expires_at else None
        emit_json({"agent": agent, "session": session, "expires_at": expiry})
    elif expires_at:
        emit(f"{printable_line(session)} is {printable_line(agent)} until {moment_text(expires_at)}")
    else:
        emit(f"{printable_line(session)} is no alias of {printable_line(agent)} any more")
