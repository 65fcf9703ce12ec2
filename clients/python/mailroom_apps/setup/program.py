"""Program — the command by which others start us, and by which we know our own entries in their settings."""

__all__ = ["is_ours", "own_command"]

import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

NAME = "mailroom"


def own_command() -> tuple[str, ...]:
    """Returns this program, by its absolute path: a hook's shell may have a PATH without this virtual environment."""
    started = Path(sys.argv[0])
    if started.name == NAME and started.is_absolute():
        return (str(started),)
    return (str(Path(sys.executable).with_name(NAME)),)


def is_ours(words: str | Sequence[str], *subcommands: str) -> bool:
    """Returns whether a command runs one of our subcommands, from wherever it is installed."""
    try:
        parts = shlex.split(words) if isinstance(words, str) else list(words)
    except ValueError:  # an open quotation
        return False
    return any(Path(program).name == NAME and subcommand in subcommands for program, subcommand in pairwise(parts))
