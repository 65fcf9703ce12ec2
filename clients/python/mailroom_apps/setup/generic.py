"""Settings for any other program — printed for the user to paste."""

__all__ = ["snippet"]

import json
import shlex

from mailroom_apps.setup import codex
from mailroom_apps.setup.options import SERVER_NAME, SetupOptions


def snippet(options: SetupOptions) -> str:
    """Returns the settings to paste, as JSON and as TOML, and the commands that work without MCP."""
    name = options.agent or "NAME"
    program = shlex.join(options.command)
    return (
        "An MCP server on stdio, in the form that most programs expect in their settings:\n\n"
        f"{json.dumps({'mcpServers': {SERVER_NAME: options.server_entry()}}, indent=2)}\n\n"
        "The same for Codex's config.toml:\n\n"
        f"{codex.new_table(options)}\n"
        "Without MCP:\n"
        f"  {program} inbox {name}               shows unread mail; marks nothing read\n"
        f"  {program} ack {name} ID              marks a message read\n"
        f"  {program} send TO TEXT --from {name}\n"
        f"  {program} doorbell {name}            waits; exits with 2 and the mail on stderr\n"
        f"Unread mail is also in ROOT/inbox/{name}/, one JSON file per message; ROOT is ~/.claude by default."
    )
