"""`mailroom inbox` — shows unread messages and marks none as read."""

__all__ = ["inbox"]

from typing import Annotated

import typer

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.options import Address, Agent, Json, Observe
from mailroom_apps.cli.output import emit, emit_json, emit_note
from mailroom_apps.cli.rendering import render_message


def inbox(
    agent: Agent,
    wait: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Wait this long for the first message."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Maximum number of messages.", show_default="50")
    ] = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Show the newest message first.")] = False,
    unoffered: Annotated[bool, typer.Option("--unoffered", help="Skip messages that were offered before.")] = False,
    observe: Observe = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Show unread messages, oldest first."""
    with connect(address) as client:
        unread = client.check_inbox(
            agent, limit=limit, wait=wait, observe=observe, unoffered_only=unoffered, newest_first=newest_first
        )
    for message in unread:
        emit_json(message.to_dict()) if json else emit(render_message(message))
    if not unread:
        emit_note(f"no unread messages for {agent}")
    if unread.more:
        emit_note(f"there are more unread messages: acknowledge some with `mailroom ack {agent} ID`, or raise --limit")
