"""DoorbellLock — lets one doorbell at a time watch a session: the newest.

Claude Code starts a doorbell at each stop and does not end the previous one before its timeout. So the newer doorbell
asks the older one to exit (SIGTERM by pidfd, so that no other process is hit), and takes over.
Owns `{session}.bell` in the sessions' directory: locked by the watching process and holding its process id; empty while
no doorbell watches.
"""

__all__ = ["DoorbellLock", "dismiss_doorbell"]

import os
import select
import signal
from contextlib import suppress
from types import TracebackType
from typing import Self

from mailroom_apps.hooks.lock_file import is_at, open_lock_file, try_lock
from mailroom_apps.hooks.session_state import doorbell_path, sessions_directory

EXIT_TIMEOUT_SEC = 3.0  # the older doorbell may be showing mail, which ends with a call to the daemon


class DoorbellLock:
    """A context manager; `held` says whether this process watches the session.

    Args:
        session: which session.
        timeout_sec: how long to wait for the previous doorbell to exit.
        takes_over: whether it is asked to; otherwise it exits only if it has just rung.

    Raises:
        OSError: on entering: the sessions' directory cannot be used.
    """

    def __init__(self, session: str, timeout_sec: float = EXIT_TIMEOUT_SEC, *, takes_over: bool = True) -> None:
        self.held = False
        self._takes_over = takes_over
        self._path = doorbell_path(session)
        self._timeout_sec = timeout_sec
        self._file = -1

    def __enter__(self) -> Self:
        os.makedirs(sessions_directory(), mode=0o700, exist_ok=True)
        while True:
            self._file = open_lock_file(self._path)
            self.held = try_lock(self._file) or (self._holder_exits() and try_lock(self._file))
            if is_at(self._path, self._file):
                break
            os.close(self._file)  # the file was removed before it was locked
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

    def _holder_exits(self) -> bool:
        """Asks the holder to exit if this one takes over; returns whether it has, or was gone before."""
        with suppress(OSError, ValueError):
            pid = self._holder_pid()
            holder = os.pidfd_open(pid)
            try:
                if not try_lock(self._file) and self._holder_pid() == pid:  # so the pidfd is the holder's
                    if self._takes_over:
                        signal.pidfd_send_signal(holder, signal.SIGTERM)
                    return bool(select.select([holder], [], [], self._timeout_sec)[0])
            finally:
                os.close(holder)
        return True

    def _holder_pid(self) -> int:
        return int(os.pread(self._file, 20, 0))


def dismiss_doorbell(session: str) -> None:
    """Asks the doorbell of a session to exit, without waiting for it."""
    with suppress(OSError), DoorbellLock(session, timeout_sec=0.0):
        pass
