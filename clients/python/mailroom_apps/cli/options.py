"""Options that several commands share, each declared once."""

__all__ = ["Address", "Agent", "Json", "MaybeAgent", "MessageId", "examples"]

from typing import Annotated

import typer

from mailroom_apps.cli.completion import complete_agent, complete_message

_WHOSE = typer.Argument(metavar="AGENT", help="Whose mailbox.", autocompletion=complete_agent, show_default=False)
Agent = Annotated[str, _WHOSE]
MaybeAgent = Annotated[str | None, _WHOSE]
MessageId = Annotated[
    str, typer.Argument(metavar="ID", help="Which message.", autocompletion=complete_message, show_default=False)
]
Address = Annotated[
    str | None, typer.Option(help="Where the daemon is: unix:PATH or HOST:PORT. Found by itself when left out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one object per line.")]


def examples(*lines: str) -> str:
    """Returns an epilog that shows one example per line."""
    return "\n\n".join(["Examples:", *lines])
