"""Completion — what the shell suggests after Tab: agents' names and ids of messages.

Invariant: a daemon that does not answer at once gives no suggestions, since a shell that hangs is worse.
"""

__all__ = ["complete_agent", "complete_message", "complete_unread"]

import os
from collections.abc import Iterable

import typer
from mailroom.messages import Message

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.rendering import first_line

TIMEOUT_SEC = 0.5
NEWEST = 50  # ids that are offered; who wants an older one has it from `mailroom list`


def complete_agent(incomplete: str) -> list[str]:
    """Returns known agents that begin so."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=TIMEOUT_SEC, grace=0.0) as client:
            names = [stats.agent_id for stats in client.stats()]
    except (MailroomError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_unread(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Returns the unread messages of the agent that was typed before."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=TIMEOUT_SEC, grace=0.0) as client:
            return _suggestions(client.check_inbox(str(ctx.params["agent"]), observe=True), incomplete)
    except (MailroomError, OSError, KeyError):
        return []


def complete_message(incomplete: str) -> list[tuple[str, str]]:
    """Returns the newest messages: MAILROOM_AGENT's where that is set, else everybody's."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=TIMEOUT_SEC, grace=0.0) as client:
            return _suggestions(client.list_messages(os.environ.get("MAILROOM_AGENT"), page_size=NEWEST), incomplete)
    except (MailroomError, OSError):
        return []


def _suggestions(messages: Iterable[Message], incomplete: str) -> list[tuple[str, str]]:
    return [
        (message.id, first_line(f"{message.sender}: {message.content}"))
        for message in messages
        if message.id.startswith(incomplete)
    ]
