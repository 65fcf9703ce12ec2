"""FileGuard — notices that an open file was removed or replaced at its path.

A process that has a file open keeps writing to it after another program has deleted it, moved it away or put another
file in its place: what it writes is gone when it ends. Owns the comparison of device and inode. Not here: what to do
about it (the command-queue refuses the batch and stops). Above: the command-queue's commit.
"""

__all__ = ["FileGuard", "FileReplaced"]

import os
from collections.abc import Iterable
from pathlib import Path


class FileReplaced(Exception):  # noqa: N818 - a condition, not a defect
    """The path of an open file no longer leads to it; nothing that was written since can be relied on."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was removed or replaced while mailroomd was running: nothing was stored. mailroomd stops; put the "
            "original state directory back, or restore a backup, before you start it again"
        )
        self.path = path


class FileGuard:
    """Remembers which file each path leads to.

    Args:
        paths: of files that this process has open. One that does not exist yet is remembered when it does.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._identities = {path: _identity(path) for path in paths}

    def watch(self, path: Path, descriptor: int) -> None:
        """Adds a file by its open descriptor.

        Raises:
            OSError: the descriptor is not open.
        """
        status = os.fstat(descriptor)
        self._identities[path] = (status.st_dev, status.st_ino)

    def check(self) -> None:
        """Compares every path with the file that it led to; some 2 µs each.

        Raises:
            FileReplaced: one of them leads nowhere, or to another file.
        """
        for path, known in self._identities.items():
            present = _identity(path)
            if known is None:
                self._identities[path] = present
            elif present != known:
                raise FileReplaced(path)


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns device and inode; None if the path leads nowhere."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
