"""`mailroom hook` and `mailroom doorbell` — as the command line shows them.

Both run before this framework is imported (`mailroom_apps.__main__`). These functions hold their help, and serve
callers that put options of `mailroom` in front of the command.
"""

__all__ = ["doorbell", "hook"]

from typing import Annotated

import typer

from mailroom_apps.cli.options import Address

_AgentOption = Annotated[
    str | None, typer.Option("--agent", help="Whose mail.", show_default="MAILROOM_AGENT, else the session's id")
]
_Root = Annotated[
    str | None,
    typer.Option(help="The directory that holds inbox/.", show_default="MAILROOM_ROOT, else ~/.claude"),
]


def hook(agent: _AgentOption = None, root: _Root = None, address: Address = None) -> None:
    """Show a Claude Code session its new mail; runs as a hook and reads the event on stdin.

    `mailroom setup claude-code` installs it. Without new mail it prints nothing. It never marks mail read.
    """
    from mailroom_apps.hooks.command import main

    raise typer.Exit(main(_arguments(agent=agent, root=root, address=address)))


def doorbell(
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="Whose mail.", show_default=False)] = None,
    root: _Root = None,
    pid: Annotated[
        int | None, typer.Option(help="Exit when this process ends.", show_default="the session's process")
    ] = None,
    address: Address = None,
) -> None:
    """Wait for mail, then exit with 2 and the mail on stderr: wakes an idle Claude Code session (asyncRewake).

    Exits with 0 when the session ends, is at work again, or has a newer doorbell.
    """
    from mailroom_apps.hooks.doorbell import main

    raise typer.Exit(main(_arguments(agent=agent, root=root, pid=pid, address=address)))


def _arguments(**options: str | int | None) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value is not None]
