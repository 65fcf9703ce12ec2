"""Options that several commands share, each declared once."""

__all__ = [
    "Address",
    "AddressOption",
    "Agent",
    "Json",
    "MaybeAgent",
    "MessageId",
    "Observe",
    "StateDir",
    "ThreadFilter",
    "Unread",
    "examples",
    "require_name",
]

from collections.abc import Sequence
from typing import Annotated, TypeVar

import typer

from mailroom_apps.cli.completion import complete_agent, complete_message

Names = TypeVar("Names", str, Sequence[str], None)


def require_name(value: Names) -> Names:
    """Refuses an empty agent name, which is usually an unset variable of a script and must not mean every agent.

    Raises:
        BadParameter: a name is empty.
    """
    if value == "" or (value is not None and not isinstance(value, str) and "" in value):
        raise typer.BadParameter("the agent's name is empty")
    return value


_AGENT = typer.Argument(
    metavar="AGENT", help="The agent's name.", autocompletion=complete_agent, show_default=False, callback=require_name
)
Agent = Annotated[str, _AGENT]
MaybeAgent = Annotated[str | None, _AGENT]
MessageId = Annotated[
    str, typer.Argument(metavar="ID", help="The message's id.", autocompletion=complete_message, show_default=False)
]
AddressOption = typer.Option(help="The daemon's address: unix:PATH or HOST:PORT. Located automatically by default.")
Address = Annotated[str | None, AddressOption]
StateDir = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="The daemon's state directory.", show_default="the daemon's --state-dir setting"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Observe = Annotated[bool, typer.Option("--observe", help="Do not mark the messages as offered.")]
ThreadFilter = Annotated[str | None, typer.Option("--thread", help="Only messages of this thread.")]
Unread = Annotated[bool, typer.Option("--unread", help="Only unread messages.")]


def examples(*lines: str) -> str:
    """Returns an epilog with one example per line."""
    return "\n\n".join(["Examples:", *lines])
