"""disk_room — whether a disk has room: tried, as a quota does not show in what a filesystem calls free."""

__all__ = ["NO_ROOM", "allocate", "has_room"]

import errno
import os
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def has_room(directory: Path, size_bytes: int) -> bool:
    """Returns whether a directory's disk has so much room now; where that can't be tried, it counts as having it."""
    try:
        allocate(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), size_bytes)
    except OSError as error:
        return error.errno not in NO_ROOM
    return True


def allocate(handle: int, size_bytes: int) -> None:
    """Gives an open file so much room, and closes it.

    Raises:
        OSError: there is not so much, or the filesystem can't.
    """
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    finally:
        os.close(handle)
