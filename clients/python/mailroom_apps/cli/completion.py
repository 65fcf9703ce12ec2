"""Completion — suggestions of the shell after Tab: agent names and message ids.

Invariant: if the daemon does not answer at once there are no suggestions, because a shell that hangs is worse.
"""

__all__ = ["complete_agent", "complete_message", "complete_unread"]

import os
from collections.abc import Iterable

import typer
from mailroom.messages import Message

from mailroom_apps.cli.connection import connect
from mailroom_apps.cli.rendering import first_line

TIMEOUT_SEC = 0.5
MAX_IDS = 50  # `mailroom list` shows older ones


def complete_agent(incomplete: str) -> list[str]:
    """Returns the known agents whose names start with the typed text."""
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
    """Returns the newest messages of MAILROOM_AGENT, or of every mailbox if that is not set."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=TIMEOUT_SEC, grace=0.0) as client:
            return _suggestions(client.list_messages(os.environ.get("MAILROOM_AGENT"), page_size=MAX_IDS), incomplete)
    except (MailroomError, OSError):
        return []


def _suggestions(messages: Iterable[Message], incomplete: str) -> list[tuple[str, str]]:
    return [
        (message.id, first_line(f"{message.sender}: {message.content}"))
        for message in messages
        if message.id.startswith(incomplete)
    ]
