"""`mailroom hook` and `mailroom doorbell` — their help, and their dispatch if global options precede them.

Usually `mailroom_apps.__main__` runs both before this framework is imported.
"""

__all__ = ["doorbell", "hook"]

from typing import Annotated

import typer

from mailroom_apps.cli.options import Address, require_name
from mailroom_apps.hooks.options import DIALECTS

_AgentOption = Annotated[
    str | None,
    typer.Option(
        "--agent",
        help="The agent to serve.",
        show_default="MAILROOM_AGENT, or the session's id",
        callback=require_name,
    ),
]
_Root = Annotated[
    str | None, typer.Option(help="The directory that contains inbox/.", show_default="MAILROOM_ROOT, else ~/.claude")
]
_Dialect = Annotated[
    str | None,
    typer.Option(metavar="|".join(DIALECTS), help="The program whose hook this is.", show_default="as the event tells"),
]


def hook(agent: _AgentOption = None, root: _Root = None, dialect: _Dialect = None, address: Address = None) -> None:
    """Run as a hook of an agent program: read an event on stdin, and show unread messages that are new to the session.

    `mailroom setup` installs it. Marks nothing read; returns quickly when there is no mail.
    """
    from mailroom_apps.hooks.command import main

    raise typer.Exit(main(_arguments(agent=agent, root=root, dialect=dialect, address=address)))


def doorbell(
    agent: Annotated[
        str | None,
        typer.Argument(metavar="AGENT", help="The agent to serve.", show_default=False, callback=require_name),
    ] = None,
    named: Annotated[
        str | None, typer.Option("--agent", help="The same as AGENT.", show_default=False, callback=require_name)
    ] = None,
    root: _Root = None,
    pid: Annotated[int | None, typer.Option(help="Exit when this process ends.", show_default="the session's")] = None,
    then: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Give the mail to this command on stdin, instead of exiting with 2; MAILROOM_SESSION is the session.",
        ),
    ] = None,
    dialect: _Dialect = None,
    address: Address = None,
) -> None:
    """Wait for a message, print it on stderr and exit with 2: wakes an idle session of Claude Code (asyncRewake).

    Exits with 0 when the session ends or has started a newer doorbell.
    """
    from mailroom_apps.hooks.doorbell import main

    raise typer.Exit(
        main(_arguments(agent=agent or named, root=root, pid=pid, then=then, dialect=dialect, address=address))
    )


def _arguments(**options: str | int | None) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value is not None]
