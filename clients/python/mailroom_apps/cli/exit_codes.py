"""ExitCode — the exit codes of the command line."""

__all__ = ["ExitCode"]

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes; 2 for usage errors is a convention of typer."""

    OK = 0
    REFUSED = 1
    TIMED_OUT = 1  # of `wait`: no message arrived
    PROBLEMS = 1  # of `doctor`: something needs a repair
    USAGE = 2
    NOT_RUNNING = 69  # EX_UNAVAILABLE of sysexits.h
    INTERRUPTED = 130
