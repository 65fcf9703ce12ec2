"""SocketClaims — gives the path of each Unix socket to one daemon.

Owns `PATH.lock`, which the daemon holds locked for as long as it runs, and the removal of PATH at its end. The gateway
binds a name of its own and renames it to PATH (`gateway.listening`), so a stopping server never removes the socket of
another daemon. A program that knows nothing of the lock is found by connecting to PATH.
Invariant: PATH is removed only by the daemon that holds its lock, and only if nothing listens on it.
"""

__all__ = ["SocketClaims"]

import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mailroomd.model.quantities import unix_path
from mailroomd.observability.log import log
from mailroomd.supervisor.exits import ExitCode, Refusal
from mailroomd.supervisor.lock_file import LockFile
from mailroomd.supervisor.preflight import create_socket_directory

_ANSWER_SEC = 1.0  # a live socket on this machine accepts at once, whatever its process is doing


class SocketClaims:
    """The locks of all Unix sockets in `listen`, held until `release`.

    Raises:
        Refusal: CANNOT_CREATE, or ALREADY_RUNNING if another process has a path.
    """

    def __init__(self, listen: Iterable[str]) -> None:
        self._locks: dict[Path, LockFile] = {}
        self._contested: set[Path] = set()
        try:
            for path in filter(None, map(unix_path, listen)):
                create_socket_directory(path.parent)
                self._locks[path] = _lock(path)
                _remove_dead_socket(path)
        except Refusal:
            self._close()
            raise

    def renew(self) -> None:
        """Locks a path again whose lock file was removed or replaced, unless another daemon has locked it meanwhile."""
        for path, lock in self._locks.items():
            if lock.is_at(_lock_path(path)):
                self._contested.discard(path)
                continue
            try:
                renewed = _lock(path)
            except Refusal as refusal:
                if path not in self._contested:
                    self._contested.add(path)
                    log.error("lock of a socket was removed or replaced", path=str(path), error=refusal.sentence)
                continue
            log.warning("lock of a socket was removed or replaced, locked it again", path=str(path))
            self._locks[path] = renewed
            lock.close()

    def release(self) -> None:
        """Removes the sockets, on which nothing listens any more, and releases the paths."""
        for path, lock in self._locks.items():
            if not lock.is_at(_lock_path(path)):  # the path may belong to another daemon
                continue
            with suppress(OSError, Refusal):
                _remove_dead_socket(path)
        self._close()

    def _close(self) -> None:
        for lock in self._locks.values():
            lock.close()
        self._locks.clear()


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _lock(path: Path) -> LockFile:
    file = _lock_path(path)
    try:
        lock = LockFile(file)
    except OSError as error:
        raise Refusal(f"cannot write {file}: {error.strerror}", ExitCode.CANNOT_CREATE) from None
    if not lock.try_lock():
        sentence = f"{lock.holder()} already listens on {path}. Stop it, or choose another --listen."
        lock.close()
        raise Refusal(sentence, ExitCode.ALREADY_RUNNING)
    return lock


def _remove_dead_socket(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Refusal(f"{path} exists and is not a socket. Move it away.", ExitCode.CANNOT_CREATE)
        if _has_listener(path):
            sentence = f"another process already listens on {path}. Stop it, or choose another --listen."
            raise Refusal(sentence, ExitCode.ALREADY_RUNNING)
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refusal(f"cannot use {path}: {error.strerror}", ExitCode.CANNOT_CREATE) from None


def _has_listener(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_SEC)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except (BlockingIOError, TimeoutError):  # its backlog is full: a process has it
            return True
    return True
