"""`mailroom config` — the daemon's settings: what would hold, and where each value comes from.

A client knows no setting: it asks the program `mailroomd`, which declares them, and starts nothing by that.
"""

__all__ = ["config"]

import os
from typing import Annotated

import typer
from mailroomd.operator.program import find_mailroomd

from mailroom_apps.cli.options import Json, examples

config = typer.Typer(name="config", help="The daemon's settings.", no_args_is_help=True)

ConfigFile = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="Read this file instead of the usual one.")
]


@config.command(epilog=examples("mailroom config show", "mailroom config show --json | jq -r '.settings.root.value'"))
def show(json: Json = False, config: ConfigFile = None) -> None:
    """Shows each setting of a daemon that is started here: its value, and where that comes from."""
    _run("--show-config=json" if json else "--show-config=text", config)


@config.command(epilog=examples("mailroom config check", "mailroom config check --config /etc/mailroom/mailroomd.toml"))
def check(config: ConfigFile = None) -> None:
    """Checks the configuration of a daemon that is started here, and starts nothing."""
    _run("--check-config", config)


@config.command(epilog=examples("mailroom config example > ~/.config/mailroom/mailroomd.toml"))
def example() -> None:
    """Prints a configuration file with every setting at its default."""
    _run("--example-config", None)


def _run(task: str, config_file: str | None) -> None:
    program = str(find_mailroomd())
    words = [program, task, *(["--config", config_file] if config_file is not None else [])]
    os.execv(program, words)  # noqa: S606 - its output and exit code are the result
