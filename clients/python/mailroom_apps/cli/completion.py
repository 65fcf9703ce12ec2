"""Completion — suggestions of the shell after Tab: agent names and message ids.

A shell may evaluate what it receives: Typer's script for zsh passes values and descriptions through `eval`, and other
frameworks render markup in them. Text of other agents is therefore reduced to letters, digits and a few harmless
characters; names and ids that do not have their own strict form are dropped.
Invariant: if the daemon does not answer at once there are no suggestions, because a shell that hangs is worse.
"""

__all__ = ["complete_agent", "complete_message", "complete_unread"]

import os
import re
from collections.abc import Iterable

import typer
from mailroom.messages import Message

from mailroom_apps.cli.connection import connect

TIMEOUT_SEC = 0.5
MAX_IDS = 50  # `mailroom list` shows older ones
MAX_DESCRIPTION_CHARS = 60

_ID = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*")  # a name with a leading dash would be taken for an option
_UNSAFE = re.compile(r"[^A-Za-z0-9.,_-]+")


def complete_agent(incomplete: str) -> list[str]:
    """Returns the known agents whose names start with the typed text."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=TIMEOUT_SEC, grace=0.0) as client:
            names = [stats.agent_id for stats in client.stats()]
    except (MailroomError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete) and _NAME.fullmatch(name)]


def complete_unread(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Returns the unread messages of the agent that was typed before."""
    from mailroom.errors import MailroomError

    try:
        with connect(timeout=TIMEOUT_SEC, grace=0.0) as client:
            return suggest_messages(client.check_inbox(str(ctx.params["agent"]), observe=True), incomplete)
    except (MailroomError, OSError, KeyError):
        return []


def complete_message(incomplete: str) -> list[tuple[str, str]]:
    """Returns the newest messages of MAILROOM_AGENT, or of every mailbox if that is not set."""
    from mailroom.errors import MailroomError

    agent = os.environ.get("MAILROOM_AGENT") or None
    try:
        with connect(timeout=TIMEOUT_SEC, grace=0.0) as client:
            return suggest_messages(client.list_messages(agent, page_size=MAX_IDS), incomplete)
    except (MailroomError, OSError):
        return []


def suggest_messages(messages: Iterable[Message], incomplete: str) -> list[tuple[str, str]]:
    """Returns the ids that start with the typed text, each with a harmless description."""
    return [
        (message.id, _describe(message))
        for message in messages
        if message.id.startswith(incomplete) and _ID.fullmatch(message.id)
    ]


def _describe(message: Message) -> str:
    text = f"{message.sender[:MAX_DESCRIPTION_CHARS]}, {message.content[:MAX_DESCRIPTION_CHARS]}"
    return _UNSAFE.sub(" ", text).strip()[:MAX_DESCRIPTION_CHARS]
