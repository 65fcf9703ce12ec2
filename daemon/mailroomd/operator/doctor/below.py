"""below — opens directories and files below a trusted directory without following links, as the daemon does.

Another program may write below the root, so that a path that was checked may name something else when it is used. Fixes
therefore work on descriptors, never on paths.
"""

__all__ = ["change_mode", "names_below", "open_below", "read_below"]

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from mailroomd.storage.directories.files import READ_FILE, read_at_most

MAX_NAMES = 20_000  # of one directory
_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC
_PIECE_BYTES = 256 << 10


@contextmanager
def open_below(base: Path, *parts: str, flags: int = os.O_RDONLY) -> Generator[int]:
    """Gives the descriptor of a directory.

    Args:
        base: a directory; a link to it is followed.
        parts: the names below it; none may be a link.
        flags: how the last one is opened: O_RDONLY, or O_PATH if it need not be readable.

    Raises:
        OSError: it does not exist, or a part is a link or not a directory.
    """
    descriptor = os.open(base, (os.O_PATH if parts else flags) | _DIRECTORY)
    try:
        for depth, part in enumerate(parts, 1):
            part_flags = flags if depth == len(parts) else os.O_PATH
            below = os.open(part, part_flags | _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def change_mode(base: Path, parts: tuple[str, ...], *, add: int = 0, remove: int = 0) -> None:
    """Changes the mode of a directory that belongs to this user.

    Raises:
        OSError: it is gone, a part is a link, or it belongs to another user.
    """
    with open_below(base, *parts, flags=os.O_PATH) as descriptor:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"it belongs to uid {status.st_uid}")
        mode = (status.st_mode & 0o7777 | add) & ~remove
        Path(f"/proc/self/fd/{descriptor}").chmod(mode)  # fchmod refuses a descriptor that was opened with O_PATH


def names_below(base: Path, *parts: str, limit: int = MAX_NAMES) -> list[str]:
    """Returns the names in a directory in their order, at most `limit` of them; none if it cannot be read."""
    try:
        with open_below(base, *parts) as directory, os.scandir(directory) as entries:
            return sorted(entry.name for entry in islice(entries, limit))
    except OSError:
        return []


def read_below(base: Path, *parts: str, limit_bytes: int) -> bytes:
    """Returns what a file holds, at most `limit_bytes` and one more byte, which shows that it is larger.

    Raises:
        OSError: it does not exist, it is not a regular file, or a part is a link.
    """
    *directories, name = parts
    with open_below(base, *directories, flags=os.O_PATH) as directory:
        descriptor = os.open(name, READ_FILE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", name)
        return read_at_most(descriptor, limit_bytes + 1, _PIECE_BYTES)
    finally:
        os.close(descriptor)
