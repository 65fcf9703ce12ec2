"""Extras — what a command says when a package that it needs was not installed with Mailroom."""

__all__ = ["extra_missing"]

from mailroom.errors import MailroomError


def extra_missing(command: str, extra: str, error: ModuleNotFoundError) -> MailroomError:
    """Returns the error of a command that needs an extra of the package."""
    return MailroomError(
        f"`mailroom {command}` needs an extra of the package: "
        f"pip install 'mailroomd[{extra}]' ({error.name} is missing)",
        reason="EXTRA_MISSING",
    )
