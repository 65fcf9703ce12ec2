"""Session process — the agent program that a hook or a doorbell belongs to.

A session is a process (Claude Code's, for example), possibly with a shell between it and its hooks.
"""

__all__ = ["arguments_of", "directory_of", "session_process", "started_at"]

import os

SHELLS = frozenset(("sh", "dash", "bash", "zsh", "ksh", "fish", "busybox", "timeout", "env"))
_PARENT, _STARTED = 1, 19  # in /proc/PID/stat, counted behind the command's name


def session_process() -> int:
    """Returns the process id of the nearest ancestor that is not a shell."""
    parent = pid = os.getppid()
    try:
        while pid > 1 and _read(pid, "comm").strip() in SHELLS:
            pid = int(_status(pid)[_PARENT])
    except (OSError, ValueError):
        pass
    return pid if pid > 1 else parent


def started_at(pid: int) -> str:
    """Returns when a process was started, in the kernel's ticks: with the id it names one process; "" if it is gone."""
    try:
        return _status(pid)[_STARTED]
    except (OSError, IndexError):
        return ""


def arguments_of(pid: int) -> list[str]:
    """Returns the command line of a process without its program; nothing if it has ended."""
    try:
        return _read(pid, "cmdline").split("\0")[1:-1]
    except OSError:
        return []


def directory_of(pid: int) -> str:
    """Returns where a process works; "" if it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _status(pid: int) -> list[str]:
    """Returns the fields behind the command's name, which is in brackets and can hold any character."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return os.fsdecode(file.read())
