"""`mailroom agents` — who has been here, who is alive, and under which sessions."""

__all__ = ["agents"]

from typing import Annotated

import typer
from mailroom.agents import AgentInfo

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import format_ago
from mailroom_apps.cli.options import Address, Json
from mailroom_apps.cli.output import emit_records
from mailroom_apps.printable import printable_line

_HEADERS = ("AGENT", "ALIVE", "LAST SEEN", "WATCHING", "UNREAD", "SESSIONS")


def agents(
    alive: Annotated[bool, typer.Option("--alive", help="Only who is alive.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Lists who has been here. Alive is who watches now, or was here within the last five minutes."""
    with connect(address) as client:
        found = client.agents(alive_only=alive)
    nothing = "nobody is alive" if alive else "nobody has been here yet"
    emit_records(found, _HEADERS, _row, json=json, nothing=nothing)


def _row(agent: AgentInfo) -> tuple[str, ...]:
    return (
        printable_line(agent.name),
        "yes" if agent.alive else "no",
        format_ago(agent.last_seen),
        str(agent.subscribers),
        str(agent.unread),
        ", ".join(map(printable_line, agent.sessions)),
    )
