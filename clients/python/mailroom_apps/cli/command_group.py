"""CommandGroup — a group of commands whose help shows flags without a type: `--json`, not `--json <bool>`."""

__all__ = ["CommandGroup"]

from collections.abc import Iterable
from typing import Any

from typer.core import TyperGroup


class CommandGroup(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns the group's own options."""
        return _without_types(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command by its name; None if there is none."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _without_types(command.get_params(ctx))
        return command


def _without_types(options: Iterable[Any]) -> list[Any]:
    """Returns options after taking the type from the help of those that take no value."""
    options = list(options)
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options
