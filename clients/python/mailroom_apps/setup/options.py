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
        on_call: the program waits for mail after each answer, where nothing else can wake it.
    """

    directory: Path
    for_user: bool
    agent: str | None
    command: tuple[str, ...]
    remove: bool = False
    on_call: bool = False

    def server_fields(self) -> dict[str, Any]:
        """Returns what is ours in the entry of the MCP server; without an agent's name, a name there is None."""
        program, *arguments = self.command
        return {"command": program, "args": [*arguments, "mcp"], "env": {"MAILROOM_AGENT": self.agent}}

    def server_entry(self) -> dict[str, Any]:
        """Returns a new entry of the MCP server; most programs use the same keys."""
        fields = self.server_fields()
        return fields if self.agent else {key: value for key, value in fields.items() if key != "env"}

    def hook_command(self, subcommand: str, dialect: str, *arguments: str) -> tuple[str, ...]:
        """Returns the command line of a hook or a doorbell, word by word."""
        name = ("--agent", self.agent) if self.agent else ()
        return (*self.command, subcommand, "--dialect", dialect, *name, *arguments)
