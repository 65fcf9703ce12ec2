"""Lock files — files that are locked with flock, and that a clean-up removes while nobody holds them.

Invariant: two processes never hold the lock of one path at once. A process may lock a file that was removed after it
had been opened, while another one locks its successor. So a lock counts only if the path still names the locked file,
and the clean-up removes a file only while it holds the lock itself.
"""

__all__ = ["is_at", "open_lock_file", "try_lock"]

import fcntl
import os


def open_lock_file(path: str) -> int:
    """Returns a descriptor of a lock file, which is created if it is missing.

    Raises:
        OSError: it cannot be opened, or it is a link.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Locks an open file until it is closed; returns False if another process holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(path: str, descriptor: int) -> bool:
    """Returns whether a path still names an open file."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
