"""ExitCode — what the command line tells a script."""

__all__ = ["ExitCode"]

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes; usage errors are 2 by typer's own convention."""

    OK = 0
    REFUSED = 1
    TIMED_OUT = 1  # of `wait`: nothing came
    PROBLEMS = 1  # of `doctor`: something has to be done
    USAGE = 2
    NOT_RUNNING = 69  # EX_UNAVAILABLE of sysexits.h
    INTERRUPTED = 130
