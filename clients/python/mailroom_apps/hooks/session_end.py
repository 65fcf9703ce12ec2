"""SessionEnd — detects that the session which started this process has ended.

A session is a process (Claude Code's), possibly with a shell between it and its hooks, and it reads its hooks' stderr.
The end of either tells that it has gone. The kernel reports both, so waiting costs nothing.
"""

__all__ = ["arguments_of", "on_session_end", "session_process"]

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SHELLS = frozenset(("sh", "dash", "bash", "zsh", "ksh", "fish", "busybox", "timeout", "env"))
POLL_SEC = 5.0  # only where the kernel has no pidfd (before Linux 5.3, some sandboxes)


def session_process() -> int:
    """Returns the process id of the nearest ancestor that is not a shell."""
    parent = pid = os.getppid()
    with suppress(OSError, ValueError):
        while pid > 1 and _command(pid) in SHELLS:
            pid = _parent(pid)
    return pid if pid > 1 else parent


def arguments_of(pid: int) -> list[str]:
    """Returns the command line of a process without its program; nothing if it has ended."""
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[1:-1]
    return []


def on_session_end(pid: int, act: Callable[[], object]) -> None:
    """Calls `act` in the running loop once the process has ended, or this process's stderr has lost its reader."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        if stat.S_ISFIFO(mode := os.fstat(2).st_mode) or stat.S_ISSOCK(mode):
            loop.add_reader(2, act)  # the writing end of a pipe becomes readable when its reader has gone
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        act()
    except OSError:
        _poll(loop, pid, act)
    else:
        loop.add_reader(process, act)


def _poll(loop: asyncio.AbstractEventLoop, pid: int, act: Callable[[], object]) -> None:
    if Path(f"/proc/{pid}").exists():
        loop.call_later(POLL_SEC, _poll, loop, pid, act)
    else:
        act()


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _parent(pid: int) -> int:
    """Returns a process's parent. The command name before it is in brackets and can hold any character."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
