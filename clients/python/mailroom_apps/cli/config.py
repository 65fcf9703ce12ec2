"""`mailroom config` — shows and checks the daemon's settings.

The program `mailroomd` declares the settings, so it is asked; it starts nothing then.
"""

__all__ = ["config"]

import os
from typing import Annotated

import typer
from mailroomd.operator.program import find_mailroomd

from mailroom_apps.cli.command_group import CommandGroup
from mailroom_apps.cli.options import Json, examples

config = typer.Typer(
    cls=CommandGroup, name="config", help="Show and check the daemon's settings.", no_args_is_help=True
)

ConfigFile = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="Read this file instead of the default one.")
]


@config.command(epilog=examples("mailroom config show", "mailroom config show --json | jq -r '.settings.root.value'"))
def show(json: Json = False, config: ConfigFile = None) -> None:
    """Show each setting's value and origin, as a daemon started here would use it."""
    _run_mailroomd("--show-config=json" if json else "--show-config=text", config)


@config.command(epilog=examples("mailroom config check", "mailroom config check --config /etc/mailroom/mailroomd.toml"))
def check(config: ConfigFile = None) -> None:
    """Check the configuration without starting the daemon."""
    _run_mailroomd("--check-config", config)


@config.command(epilog=examples("mailroom config example > ~/.config/mailroom/mailroomd.toml"))
def example() -> None:
    """Print a configuration file with every setting at its default."""
    _run_mailroomd("--example-config", None)


def _run_mailroomd(task: str, config_file: str | None) -> None:
    program = str(find_mailroomd())
    arguments = [program, task, *(["--config", config_file] if config_file is not None else [])]
    os.execv(program, arguments)  # noqa: S606 - its output and exit code are the result
