"""SessionUpdate — changes a session's state under a lock, so that only one process at a time shows mail to a session.

Hooks of one event run side by side, and so does the doorbell; the lock lets exactly one of them show a message. The new
state is written before the mail is shown and renamed into place afterwards, so that a full disk is detected in time:
mail whose showing cannot be recorded would be shown again and again.
Invariant: the state changes after the output was flushed, or not at all.
"""

__all__ = ["SessionBusyError", "SessionUpdate", "StateNotSavedError", "prune_sessions"]

import fcntl
import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from mailroom_apps.hooks.session_state import SessionState, sessions_directory

LOCK_TIMEOUT_SEC = 1.0  # showing mail takes milliseconds; a process that holds the lock for longer is stopped
LOCK_POLL_SEC = 0.01
KEPT_SEC = 30 * 86_400  # a session that was quiet for this long is over


class SessionBusyError(Exception):
    """Another process is showing mail to this session right now."""


class StateNotSavedError(Exception):
    """The session's state cannot be saved, so nothing was shown."""


class SessionUpdate:
    """A context manager around showing mail once. Change `state`, then `prepare`, show, `commit`.

    Args:
        session: whose state.

    Raises:
        SessionBusyError: on entering.
        StateNotSavedError: on entering: the sessions' directory cannot be used.
    """

    def __init__(self, session: str) -> None:
        self.state = SessionState()
        self._session = session
        self._directory = ""
        self._lock = -1
        self._draft = ""

    def __enter__(self) -> Self:
        try:
            self._directory = sessions_directory()
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            path = f"{self._directory}/{self._session}.lock"
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateNotSavedError(str(error)) from error
        try:
            self._wait_for_lock()
        except BaseException:
            os.close(self._lock)
            raise
        self.state = SessionState.read(self._session)
        return self

    def prepare(self) -> None:
        """Writes the new state beside the current one.

        Raises:
            StateNotSavedError: it cannot be written.
        """
        self._draft = f"{self._directory}/.{self._session}.{os.getpid()}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(self._draft, flags, 0o600), "wb") as file:
                file.write(self.state.encode())
        except OSError as error:
            raise StateNotSavedError(str(error)) from error

    def commit(self) -> None:
        """Renames the prepared state into place: its mail has been shown.

        Raises:
            OSError: the state stays as it was.
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
        deadline = time.monotonic() + LOCK_TIMEOUT_SEC
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise SessionBusyError from error
                time.sleep(LOCK_POLL_SEC)


def prune_sessions() -> None:
    """Removes the files of sessions that ended long ago."""
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
