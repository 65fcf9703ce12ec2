"""SessionUpdate — changes a session's state under a lock, so that only one process at a time shows mail to a session.

Hooks of one event run side by side, and so does the doorbell; the lock lets exactly one of them show a message. The new
state is written before the mail is shown and renamed into place afterwards, so that a full disk is detected in time:
mail whose showing cannot be recorded would be shown again and again.
Invariant: the state changes after the output was flushed, or not at all.
"""

__all__ = ["SessionBusyError", "SessionUpdate", "StateNotSavedError", "prune_sessions"]

import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from mailroom_apps.hooks.lock_file import is_at, open_lock_file, try_lock
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
            self._lock = _lock(f"{self._directory}/{self._session}.lock", LOCK_TIMEOUT_SEC)
        except OSError as error:
            raise StateNotSavedError(str(error)) from error
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


def prune_sessions() -> None:
    """Removes the files of sessions that ended long ago."""
    oldest = time.time() - KEPT_SEC
    with suppress(OSError), os.scandir(sessions_directory()) as entries:
        for entry in entries:
            with suppress(OSError, SessionBusyError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    _remove(entry.path, oldest)


def _remove(path: str, oldest: float) -> None:
    """Removes an old file while nobody uses it. A state belongs to the lock beside it, any other file to its own."""
    lock_path = f"{path.removesuffix('.json')}.lock" if path.endswith(".json") else path
    lock = _lock(lock_path)
    try:
        if os.stat(path, follow_symlinks=False).st_mtime < oldest:
            os.unlink(path)
            if lock_path != path:
                os.unlink(lock_path)
    finally:
        os.close(lock)


def _lock(path: str, timeout_sec: float = 0.0) -> int:
    """Returns a descriptor of the locked file.

    Raises:
        SessionBusyError: another process holds the lock.
        OSError: the file cannot be opened.
    """
    deadline = time.monotonic() + timeout_sec
    lock = open_lock_file(path)
    try:
        while not (try_lock(lock) and is_at(path, lock)):
            if time.monotonic() >= deadline:
                raise SessionBusyError
            if is_at(path, lock):
                time.sleep(LOCK_POLL_SEC)
            else:  # the file was removed before it was locked
                os.close(lock)
                lock = open_lock_file(path)
    except BaseException:
        os.close(lock)
        raise
    return lock
