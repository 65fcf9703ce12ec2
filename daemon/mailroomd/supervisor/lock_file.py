"""LockFile — a file whose flock(2) one daemon holds; the process id in it tells people which.

A flock belongs to the open file, not to a process: it is free when the last process that has inherited the descriptor
is gone. The file is never removed, because another daemon may be about to lock it. No decision depends on its content.
"""

__all__ = ["LockFile"]

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class LockFile:
    """Opens the file, which is created if it is missing.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
        PermissionError: it belongs to another user.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self.descriptor = os.open(path, flags, 0o600)
        if os.fstat(self.descriptor).st_uid != os.geteuid():
            self.close()
            raise PermissionError(0, "it belongs to another user")

    def try_lock(self) -> bool:
        """Locks the file and records this process in it; returns False if another daemon holds the lock."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def is_at(self, path: Path) -> bool:
        """Returns whether this open file is still the one at a path."""
        try:
            found, ours = path.lstat(), os.fstat(self.descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def holder(self) -> str:
        """Describes the daemon that holds the lock."""
        pid = os.pread(self.descriptor, 32, 0).decode(errors="replace").strip()
        return f"mailroomd (pid {pid})" if pid.isdigit() else "another mailroomd"

    def close(self) -> None:
        """Closes the descriptor, and releases the lock unless another process has inherited it."""
        os.close(self.descriptor)
