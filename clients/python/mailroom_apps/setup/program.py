"""Program — the command that starts this program, and how it is recognized in other programs' settings."""

__all__ = ["is_our_server", "is_ours", "own_command"]

import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

NAME = "mailroom"


def own_command() -> tuple[str, ...]:
    """Returns this program by its absolute path: the PATH of a hook's shell may lack this virtual environment."""
    started = Path(sys.argv[0])
    if started.name == NAME and started.is_absolute():
        return (str(started),)
    return (str(Path(sys.executable).with_name(NAME)),)


def is_ours(words: str | Sequence[str], *subcommands: str) -> bool:
    """Returns whether a command runs one of these subcommands of ours, wherever it is installed."""
    try:
        parts = shlex.split(words) if isinstance(words, str) else list(words)
    except ValueError:  # an unclosed quotation
        return False
    return any(Path(program).name == NAME and subcommand in subcommands for program, subcommand in pairwise(parts))


def is_our_server(entry: object) -> bool:
    """Returns whether an entry of another program's settings starts our MCP server."""
    if not isinstance(entry, dict):
        return False
    server = cast("dict[str, Any]", entry)
    arguments = server.get("args")
    words = cast("list[object]", arguments) if isinstance(arguments, list) else []
    return is_ours([str(server.get("command")), *map(str, words)], "mcp")
