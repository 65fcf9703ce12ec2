"""`mailroom agents` — the known agents, their presence and their sessions."""

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
_HUB_HEADERS = ("AGENT", "ALIVE", "HOST LAST SEEN")


def agents(
    alive: Annotated[bool, typer.Option("--alive", help="Only agents that are alive.")] = False,
    hub: Annotated[bool, typer.Option("--hub", help="The agents that are present on other hosts.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """List the known agents. An agent is alive if it is subscribed or was active in the last five minutes."""
    with connect(address) as client:
        known = client.agents(alive_only=alive, all_hosts=hub)
    if hub:
        known = [agent for agent in known if agent.host]
        emit_records(known, _HUB_HEADERS, _hub_row, json=json, empty_note="no agent of another host is known")
        return
    empty_note = "no agent is alive" if alive else "no agent has connected yet"
    emit_records(known, _HEADERS, _row, json=json, empty_note=empty_note)


def _row(agent: AgentInfo) -> tuple[str, ...]:
    return (
        printable_line(agent.name),
        "yes" if agent.alive else "no",
        format_ago(agent.last_seen),
        str(agent.subscribers),
        str(agent.unread),
        ", ".join(map(printable_line, agent.sessions)),
    )


def _hub_row(agent: AgentInfo) -> tuple[str, ...]:
    return (printable_line(agent.name), "yes" if agent.alive else "no", format_ago(agent.last_seen))
