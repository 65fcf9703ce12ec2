"""Settings for any other program — printed, for a person to paste."""

__all__ = ["snippet"]

import json
import shlex

from mailroom_apps.setup.claude_code import SERVER, Wish


def snippet(wish: Wish) -> str:
    """Returns what to paste, and what else there is."""
    name = wish.agent or "NAME"
    program = shlex.join(wish.command)
    return (
        "An MCP server over stdio, as most programs want it in their settings:\n\n"
        f"{json.dumps({'mcpServers': {SERVER: wish.server()}}, indent=2)}\n\n"
        "Without MCP:\n"
        f"  {program} inbox {name}               unread mail; marks nothing read\n"
        f"  {program} ack {name} ID              marks a message read\n"
        f"  {program} send TO TEXT --from {name}\n"
        f"  {program} doorbell {name}            waits, and ends with 2 and the mail on stderr\n"
        f"Unread mail is also in ROOT/inbox/{name}/, one JSON file for each message; ROOT is ~/.claude by default."
    )
