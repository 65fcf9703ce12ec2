"""WatchLock — lets one doorbell at a time watch for a session; the newest one.

Claude Code starts a doorbell at each stop and never ends the one before, which it may kill at its own time-out. So the
newer one asks the older one to leave (SIGTERM, by pidfd, so that nobody else is hit), and takes over.
Owns `{session}.bell` in the sessions' directory: locked by the watching process, with its process id in it; empty when
nobody watches.
"""

__all__ = ["WatchLock", "dismiss_doorbell"]

import fcntl
import os
import select
import signal
from contextlib import suppress
from types import TracebackType
from typing import Self

from mailroom_apps.hooks.memory import bell_path, sessions_directory

PATIENCE_SEC = 3.0  # the older one may be about to ring, which ends with a call to the daemon


class WatchLock:
    """A context manager; `held` says whether it is this process that watches.

    Args:
        session: for which session.
        patience_sec: how long to wait for the one before.

    Raises:
        OSError: on entering: the sessions' directory cannot be used.
    """

    def __init__(self, session: str, patience_sec: float = PATIENCE_SEC) -> None:
        self.held = False
        self._path = bell_path(session)
        self._patience_sec = patience_sec
        self._file = -1

    def __enter__(self) -> Self:
        os.makedirs(sessions_directory(), mode=0o700, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self.held = self._lock() or (self._ask_holder_to_leave() and self._lock())
        if self.held:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.held:
            os.ftruncate(self._file, 0)
        os.close(self._file)

    def _lock(self) -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _ask_holder_to_leave(self) -> bool:
        """Returns whether the holder has ended, or had ended before it could be asked."""
        with suppress(OSError, ValueError):
            pid = self._holder()
            holder = os.pidfd_open(pid)
            try:
                if not self._lock() and self._holder() == pid:  # it was alive, and the holder, when it was opened
                    signal.pidfd_send_signal(holder, signal.SIGTERM)
                    return bool(select.select([holder], [], [], self._patience_sec)[0])
            finally:
                os.close(holder)
        return True

    def _holder(self) -> int:
        return int(os.pread(self._file, 20, 0))


def dismiss_doorbell(session: str) -> None:
    """Asks the doorbell of a session to leave, and does not wait for it."""
    with suppress(OSError), WatchLock(session, patience_sec=0.0):
        pass
