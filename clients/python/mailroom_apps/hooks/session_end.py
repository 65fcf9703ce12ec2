"""SessionEnd — notices that the session which started this process is over.

A session is a process (Claude Code's), with a shell between it and its hooks or without, and it reads its hooks'
stderr. Either may tell that it has gone. The kernel reports both, so waiting costs nothing.
"""

__all__ = ["session_process", "when_session_ends"]

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SHELLS = frozenset(("sh", "dash", "bash", "zsh", "ksh", "fish", "busybox", "timeout", "env"))
LOOK_AGAIN_SEC = 5.0  # only where the kernel has no pidfd (before Linux 5.3, some sandboxes)


def session_process() -> int:
    """Returns the id of the nearest ancestor that is no shell."""
    parent = pid = os.getppid()
    with suppress(OSError, ValueError):
        while pid > 1 and _command(pid) in SHELLS:
            pid = _parent(pid)
    return pid if pid > 1 else parent


def when_session_ends(pid: int, act: Callable[[], object]) -> None:
    """Acts in the running loop once the process has ended, or nobody reads this process's stderr any more."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        if stat.S_ISFIFO(mode := os.fstat(2).st_mode) or stat.S_ISSOCK(mode):
            loop.add_reader(2, act)  # a pipe that is written to is readable when its reader has gone
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        act()
    except OSError:
        _look_again(loop, pid, act)
    else:
        loop.add_reader(process, act)


def _look_again(loop: asyncio.AbstractEventLoop, pid: int, act: Callable[[], object]) -> None:
    if Path(f"/proc/{pid}").exists():
        loop.call_later(LOOK_AGAIN_SEC, _look_again, loop, pid, act)
    else:
        act()


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _parent(pid: int) -> int:
    """Returns a process's parent; the command in front of it is in brackets and may hold anything."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
