"""Reserve — a preallocated file beside the database that is given up when the disk is full.

Owns `{state_dir}/reserve`. Its room lets reading, acknowledging and retention go on while sends are refused; sends are
taken again when it is set aside and there is as much to spare.
"""

__all__ = ["NO_ROOM", "Reserve", "has_room"]

import errno
import os
from contextlib import suppress
from pathlib import Path

_NEW = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
RESERVE_BYTES = 4 << 20  # some thousand acknowledgements; little enough for the smallest disk
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Reserve:
    """The room that is kept for a full disk.

    Args:
        state_dir: where the database lies.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "reserve"

    @property
    def is_held(self) -> bool:
        """Whether the room is set aside."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return found.st_size >= RESERVE_BYTES

    def release(self) -> None:
        """Gives the room to the filesystem."""
        with suppress(OSError):  # what can't be removed gives no room, and there may be enough without it
            self._path.unlink()

    def release_if_tight(self) -> None:
        """Gives the room to the filesystem if there is little else: what a start has to write may need it."""
        if not self._is_free(RESERVE_BYTES):
            self.release()

    def refill(self) -> bool:
        """Sets the room aside if it is not; returns whether it is, with as much again to spare.

        A filesystem that can't set room aside is no full one: then there is no reserve.
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
            room = os.statvfs(self._path.parent)
        except OSError:
            return True
        return room.f_bavail * room.f_frsize >= size_bytes


def has_room(directory: Path, size_bytes: int) -> bool:
    """Returns whether a directory's disk has so much room now; where that can't be tried, it counts as having it."""
    try:
        _allocate(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), size_bytes)
    except OSError as error:
        return error.errno not in NO_ROOM
    return True


def _allocate(handle: int, size_bytes: int) -> None:
    """Gives an open file so much room, and closes it.

    Raises:
        OSError: there is not so much, or the filesystem can't.
    """
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    finally:
        os.close(handle)
