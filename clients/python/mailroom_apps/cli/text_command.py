"""TextCommand — a command with a text argument, which explains how to pass text that starts with a dash."""

__all__ = ["TextCommand"]

from typing import Any

import typer
from typer.core import TyperCommand

_UsageError: type[Exception] = typer.BadParameter.__mro__[
    1
]  # typer bundles click since 0.20, so it has no fixed module


class TextCommand(TyperCommand):
    """A command whose argument may be any text."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments; an unknown option may be text that was not meant as an option."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            if type(error).__name__ == "NoSuchOption":
                message = str(getattr(error, "message", error)).rstrip(".")
                example = f"{ctx.command_path} … -- '- text'"
                setattr(error, "message", f"{message}. Put -- before text that starts with a dash: {example}")  # noqa: B010
            raise
