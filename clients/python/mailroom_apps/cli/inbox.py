"""`mailroom inbox` — shows unread messages and marks none as read; from the inbox files where no daemon answers."""

__all__ = ["inbox"]

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mailroom.errors import DaemonNotRunning
from mailroom.inbox_directory import default_root

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.durations import parse_duration
from mailroom_apps.cli.options import Address, Agent, Json, Observe
from mailroom_apps.cli.output import emit, emit_json, emit_note
from mailroom_apps.cli.rendering import render_message

if TYPE_CHECKING:
    from mailroom.messages import Inbox

DEFAULT_LIMIT = 50  # of the daemon, where none is given


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
    """Show unread messages, oldest first; from their files if the daemon does not answer."""
    try:
        with connect(address) as client:
            unread = client.check_inbox(
                agent, limit=limit, wait=wait, observe=observe, unoffered_only=unoffered, newest_first=newest_first
            )
    except DaemonNotRunning as error:
        if wait or unoffered or newest_first:
            raise  # only the daemon knows
        unread = _read_files(agent, limit or DEFAULT_LIMIT, error)
    for message in unread:
        emit_json(message.to_dict()) if json else emit(render_message(message))
    if not unread:
        emit_note(f"no unread messages for {agent}")
    if unread.more:
        emit_note(f"there are more unread messages: acknowledge some with `mailroom ack {agent} ID`, or raise --limit")


def _read_files(agent: str, limit: int, reason: DaemonNotRunning) -> "Inbox":
    """Returns unread messages from the inbox files, and says so.

    Raises:
        DaemonNotRunning: the reason; there is no inbox to read.
    """
    from mailroom_apps.mcp.offline_inbox import OfflineInbox

    try:
        unread = OfflineInbox(Path(default_root())).read(agent, limit)
    except OSError:
        raise reason from None
    emit_note(reason.message)
    emit_note("this is what the inbox files say; without the daemon nothing can be acknowledged")
    return unread
