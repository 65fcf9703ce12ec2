"""Reserve — a preallocated file beside the database that is given up when the disk is full.

Owns `{state_dir}/reserve`. Its space lets reading, acknowledging and retention go on while sends are refused. Sends are
accepted again when it is allocated and as much again is free.
"""

__all__ = ["NO_ROOM", "RESERVE_NAME", "Reserve", "has_room"]

import errno
import os
from contextlib import suppress
from pathlib import Path

_NEW = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
RESERVE_NAME = "reserve"
RESERVE_BYTES = 4 << 20  # enough for thousands of acknowledgements, little for the smallest disk
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Reserve:
    """The space that is kept for a full disk.

    Args:
        state_dir: where the database is.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / RESERVE_NAME

    @property
    def is_held(self) -> bool:
        """Whether the space is allocated."""
        try:
            status = self._path.stat()
        except OSError:
            return False
        return status.st_size >= RESERVE_BYTES

    def release(self) -> None:
        """Frees the space."""
        with suppress(OSError):  # a file that cannot be removed frees nothing, and there may be enough without it
            self._path.unlink()

    def release_if_tight(self) -> None:
        """Frees the space if there is little else: the writes of a start may need it."""
        if not self._is_free(RESERVE_BYTES):
            self.release()

    def refill(self) -> bool:
        """Allocates the space if it is not allocated; returns whether it is, with as much again free.

        A file system that cannot preallocate does not count as full: then there is no reserve.
        """
        was_held = self.is_held
        if not self._is_free(RESERVE_BYTES if was_held else 2 * RESERVE_BYTES):
            return False
        try:
            if not was_held:
                _allocate(os.open(self._path, _NEW, 0o600), RESERVE_BYTES)
        except OSError as error:
            self.release()
            return error.errno not in NO_ROOM
        if has_room(self._path.parent, RESERVE_BYTES):
            return True
        if not was_held:
            self.release()
        return False

    def _is_free(self, size_bytes: int) -> bool:
        try:
            filesystem = os.statvfs(self._path.parent)
        except OSError:
            return True
        return filesystem.f_bavail * filesystem.f_frsize >= size_bytes


def has_room(directory: Path, size_bytes: int) -> bool:
    """Returns whether a directory's disk has this much space now; also if that cannot be tried."""
    try:
        _allocate(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), size_bytes)
    except OSError as error:
        return error.errno not in NO_ROOM
    return True


def _allocate(fd: int, size_bytes: int) -> None:
    """Allocates space for an open file, and closes it.

    Raises:
        OSError: the space is not there, or the file system cannot preallocate.
    """
    try:
        os.posix_fallocate(fd, 0, size_bytes)
    finally:
        os.close(fd)
