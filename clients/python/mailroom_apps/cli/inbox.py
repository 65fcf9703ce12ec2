"""`mailroom inbox` — shows unread mail and marks nothing read."""

__all__ = ["inbox"]

from typing import Annotated

import typer

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.options import Address, Agent, Json
from mailroom_apps.cli.output import emit, emit_json, remark
from mailroom_apps.cli.rendering import render_message


def inbox(
    agent: Agent,
    wait: Annotated[
        float | None, typer.Option(parser=parse_duration, metavar="DURATION", help="Wait for the first message.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, max=1000, help="Show at most so many.", show_default="50")] = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Turn the order round.")] = False,
    unoffered: Annotated[bool, typer.Option("--unoffered", help="Leave out what was handed over before.")] = False,
    observe: Annotated[bool, typer.Option("--observe", help="Look on: nothing counts as handed over.")] = False,
    json: Json = False,
    address: Address = None,
) -> None:
    """Shows unread messages, oldest first."""
    with connect(address) as client:
        found = client.check_inbox(
            agent, limit=limit, wait=wait, observe=observe, unoffered_only=unoffered, newest_first=newest_first
        )
    for message in found:
        emit_json(message.to_dict()) if json else emit(render_message(message))
    if not found:
        remark(f"nothing unread for {agent}")
    if found.more:
        remark(f"more is unread: `mailroom ack {agent} ID` what is done, or raise --limit")
