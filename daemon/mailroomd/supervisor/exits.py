"""ExitCode — every way in which the daemon ends, and the error that leads there.

The numbers are those of sysexits.h. RestartPreventExitStatus in the systemd units lists those for which `restart_helps`
is false.
"""

__all__ = ["ExitCode", "Refusal", "describe_exit"]

import os
import signal
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """The exit codes of `mailroomd`, each with a sentence."""

    sentence: str
    restart_helps: bool

    def __new__(cls, code: int, restart_helps: bool, sentence: str) -> Self:
        """Creates one row of the table."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.restart_helps = restart_helps
        member.sentence = sentence
        return member

    OK = os.EX_OK, True, "It was asked to stop, and stopped cleanly."
    USAGE = os.EX_USAGE, False, "A command-line flag is wrong."
    GAVE_UP = (
        os.EX_UNAVAILABLE,
        True,
        "Its workers died more often than --max-restarts allows, or could not be started.",
    )
    INTERNAL = os.EX_SOFTWARE, True, "The supervisor itself failed; this is a bug."
    CANNOT_CREATE = os.EX_CANTCREAT, False, "A directory, file or socket cannot be created."
    ALREADY_RUNNING = os.EX_TEMPFAIL, True, "Another daemon uses the state directory or the socket."
    CANNOT_START = os.EX_CONFIG, False, "The configuration is wrong, or a worker cannot use the data it found."


class Refusal(Exception):  # noqa: N818 - a decision, not an error
    """Ends the daemon with a sentence for the user; `exit_code` is an ExitCode or the code that a worker chose."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.exit_code = exit_code


def describe_exit(exit_code: int) -> str:
    """Describes a `Process.exitcode`: "killed by SIGKILL", "exited with code 1"."""
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-exit_code}"
