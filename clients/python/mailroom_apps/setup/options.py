"""SetupOptions — what `mailroom setup` was asked to set up, or to remove."""

__all__ = ["SERVER_NAME", "SetupOptions"]

from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER_NAME = "mailroom"  # the MCP server's name in every program's settings


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What is to be set up.

    Attributes:
        directory: the project's directory.
        for_user: for all projects of the user instead.
        agent: the agent's name; None: the session's id.
        command: the command that starts this program, word by word.
        remove: remove all of our entries instead.
    """

    directory: Path
    for_user: bool
    agent: str | None
    command: tuple[str, ...]
    remove: bool = False

    def server_entry(self) -> dict[str, Any]:
        """Returns the entry of the MCP server; all programs use the same keys."""
        program, *arguments = self.command
        entry: dict[str, Any] = {"command": program, "args": [*arguments, "mcp"]}
        return entry | ({"env": {"MAILROOM_AGENT": self.agent}} if self.agent else {})
