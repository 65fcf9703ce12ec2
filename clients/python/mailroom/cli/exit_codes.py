"""ExitCode — what the command line tells a script."""

__all__ = ["ExitCode"]

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes; usage errors are 2 by typer's own convention."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_RUNNING = 69  # EX_UNAVAILABLE of sysexits.h
    INTERRUPTED = 130
