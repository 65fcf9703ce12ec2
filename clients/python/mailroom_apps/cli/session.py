"""`mailroom hook` and `mailroom doorbell` — as the command line shows them.

They run before this framework is even imported (`mailroom_apps.__main__`); what is here is their help, and the way for those
who write options in front of them.
"""

__all__ = ["doorbell", "hook"]

from typing import Annotated

import typer

from mailroom_apps.cli.options import Address

_AgentOption = Annotated[
    str | None, typer.Option("--agent", help="Whose mail.", show_default="MAILROOM_AGENT, else the session's id")
]
_Root = Annotated[str | None, typer.Option(help="The directory that holds inbox/.", show_default="~/.claude")]


def hook(agent: _AgentOption = None, root: _Root = None, address: Address = None) -> None:
    """For hooks of Claude Code: reads an event on stdin, shows unread mail that this session has not seen yet.

    `mailroom setup claude-code` installs it. Shows nothing, fast, when there is nothing; marks nothing read.
    """
    from mailroom_apps.hooks.command import main

    raise typer.Exit(main(_arguments(agent=agent, root=root, address=address)))


def doorbell(
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="Whose mail.", show_default=False)] = None,
    root: _Root = None,
    pid: Annotated[int | None, typer.Option(help="End with this process.", show_default="the session's")] = None,
    address: Address = None,
) -> None:
    """Waits for mail, then ends with 2 and the mail on stderr: wakes an idle session of Claude Code (asyncRewake).

    Ends with 0 when the session does, is at work again, or has a newer doorbell.
    """
    from mailroom_apps.hooks.doorbell import main

    raise typer.Exit(main(_arguments(agent=agent, root=root, pid=pid, address=address)))


def _arguments(**options: str | int | None) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value is not None]
