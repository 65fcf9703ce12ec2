"""shortage — tells a worker that ran out of memory or descriptors from one that is faulty.

The supervisor restarts the former after a delay and never gives up over it (`core.restart_delay`). A worker that
notices the shortage itself exits with EX_SHORTAGE. If the kernel's OOM killer or a failed allocation in a library ended
it, the signal shows that, together with the kernel's count of such kills or a limit on the address space.
"""

__all__ = ["EX_SHORTAGE", "ShortageDetector", "is_shortage"]

import errno
import os
import resource
import signal
from pathlib import Path

EX_SHORTAGE = os.EX_OSERR
"""The exit code of a worker that has run out of memory or descriptors."""

_SQLITE_OUT_OF = (7, 14)
"""SQLITE_NOMEM, and SQLITE_CANTOPEN: a database that was opened before cannot be opened for want of descriptors. As
numbers, because the supervisor does not import sqlite3."""

_NO_THREAD = "start new thread"  # how Python reports that the system is out of threads or memory

_VMSTAT = Path("/proc/vmstat")  # `oom_kill`: kills by the OOM killer since boot, of all control groups, proc(5)
_ALLOCATION_FAILED = {-signal.SIGABRT, -signal.SIGSEGV}  # how C and C++ end when memory runs out


def is_shortage(error: BaseException) -> bool:
    """Returns whether an exception says that the process is out of memory or descriptors."""
    out_of = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
    if isinstance(error, OSError):
        return error.errno in out_of
    if isinstance(error, RuntimeError):
        return _NO_THREAD in str(error)
    return isinstance(error, MemoryError) or getattr(error, "sqlite_errorcode", None) in _SQLITE_OUT_OF


class ShortageDetector:
    """Judges exit codes; it compares the OOM killer's count with that at the last exit."""

    def __init__(self, vmstat: Path = _VMSTAT) -> None:
        self._vmstat = vmstat
        self._oom_kills = 0
        self._oom_kills = self._count_oom_kills()

    def caused(self, exit_code: int) -> bool:
        """Returns whether a worker that the supervisor did not kill ended for want of memory or descriptors."""
        before, self._oom_kills = self._oom_kills, self._count_oom_kills()
        if exit_code == EX_SHORTAGE:
            return True
        if exit_code == -signal.SIGKILL:
            return self._oom_kills > before
        return exit_code in _ALLOCATION_FAILED and _has_memory_limit()

    def _count_oom_kills(self) -> int:
        try:
            lines = self._vmstat.read_text().splitlines()
        except OSError:  # not in every sandbox, nor without a free descriptor
            return self._oom_kills
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _has_memory_limit() -> bool:
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
