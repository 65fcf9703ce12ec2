"""SessionEnd — detects that the session which started this process has ended.

A session is a process (`session_process`), and it reads its hooks' stderr. The end of either tells that it has gone.
The kernel reports both, so waiting costs nothing.
"""

__all__ = ["on_session_end"]

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

POLL_SEC = 5.0  # only where the kernel has no pidfd (before Linux 5.3, some sandboxes)


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
