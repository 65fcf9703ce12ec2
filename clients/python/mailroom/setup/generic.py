"""Settings for any other program — printed, for a person to paste."""

__all__ = ["snippet"]

import json

from mailroom.setup.claude_code import SERVER
from mailroom.setup.program import shell_line


def snippet(command: str, agent: str | None) -> str:
    """Returns what to paste, and what else there is.

    Args:
        command: how to start this program.
        agent: the agent's name; None: a placeholder.
    """
    name = agent or "NAME"
    server = {"command": command, "args": ["mcp"], "env": {"MAILROOM_AGENT": name}}
    return (
        "An MCP server over stdio, as most programs want it in their settings:\n\n"
        f"{json.dumps({'mcpServers': {SERVER: server}}, indent=2)}\n\n"
        "Without MCP:\n"
        f"  {shell_line(command, 'inbox', name)}      unread mail; marks nothing read\n"
        f"  {shell_line(command, 'ack', name, 'ID')}     marks a message read\n"
        f"  {shell_line(command, 'send', 'TO', 'TEXT', '--from', name)}\n"
        f"  {shell_line(command, 'doorbell', name)}   waits, and ends with 2 and the mail on stderr\n"
        f"Unread mail is also in ROOT/inbox/{name}/, one JSON file for each message; ROOT is ~/.claude by default."
    )
