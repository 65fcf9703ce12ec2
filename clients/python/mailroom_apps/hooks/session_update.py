"""Keeper — holds one session's memory for one showing: nobody else of this session shows mail meanwhile.

Hooks of one event run side by side, and so does the doorbell; the lock lets each message be shown by one of them. The
new memory is written before the mail is shown and put in place afterwards, so that a full disk is found out in time:
what cannot be remembered would be shown again and again.
Invariant: the memory changes after the output was flushed, or not at all.
"""

__all__ = ["Keeper", "SessionBusyError", "UnrememberedError", "prune_sessions"]

import fcntl
import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from mailroom_apps.hooks.memory import Memory, sessions_directory

PATIENCE_SEC = 1.0  # a showing takes milliseconds; somebody who holds the lock for longer is stopped
LOOK_AGAIN_SEC = 0.01
KEPT_SEC = 30 * 86_400  # a session that was quiet for so long is over


class SessionBusyError(Exception):
    """Somebody else is showing mail to this session right now."""


class UnrememberedError(Exception):
    """What a session is shown cannot be remembered, so nothing was shown."""


class Keeper:
    """A context manager around one showing.

    Args:
        session: whose memory.

    Raises:
        SessionBusyError: on entering.
        UnrememberedError: on entering: the sessions' directory cannot be used.
    """

    def __init__(self, session: str) -> None:
        self.memory = Memory()
        self._session = session
        self._directory = sessions_directory()
        self._lock = -1
        self._draft = ""

    def __enter__(self) -> Self:
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            path = f"{self._directory}/{self._session}.lock"
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnrememberedError(str(error)) from error
        try:
            self._wait_for_lock()
        except BaseException:
            os.close(self._lock)
            raise
        self.memory = Memory.read(self._session)
        return self

    def prepare(self) -> None:
        """Writes the memory as it is to be, beside the one in place.

        Raises:
            UnrememberedError: it cannot be written.
        """
        self._draft = f"{self._directory}/.{self._session}.{os.getpid()}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(self._draft, flags, 0o600), "wb") as file:
                file.write(self.memory.encode())
        except OSError as error:
            raise UnrememberedError(str(error)) from error

    def commit(self) -> None:
        """Puts the prepared memory in place: its mail has been shown.

        Raises:
            OSError: it stays as it was.
        """
        os.replace(self._draft, f"{self._directory}/{self._session}.json")
        self._draft = ""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._draft:
            with suppress(OSError):
                os.unlink(self._draft)
        os.close(self._lock)

    def _wait_for_lock(self) -> None:
        deadline = time.monotonic() + PATIENCE_SEC
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise SessionBusyError from error
                time.sleep(LOOK_AGAIN_SEC)


def prune_sessions() -> None:
    """Removes what sessions left behind that have long been over."""
    oldest = time.time() - KEPT_SEC
    with suppress(OSError), os.scandir(sessions_directory()) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest and not _is_locked(entry.path):
                    os.unlink(entry.path)


def _is_locked(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
