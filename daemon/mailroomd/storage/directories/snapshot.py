"""DirectorySnapshot — which directory it is, and whether it may have changed since it was listed, for one stat.

Owns what tells a directory from a later one in its place, and the rule for a directory's mtime. Two changes may share
one tick of the file system's clock, so an mtime proves nothing until a second after it was first seen; until then the
directory is listed each time.
Used by the patrols of `OutboxScan` and `InboxWatch`. Time is the caller's monotonic clock; no two clocks are compared.
"""

__all__ = ["DirectoryIdentity", "DirectorySnapshot"]

import fcntl
import os
import stat
from dataclasses import dataclass
from typing import NamedTuple

SETTLED_AFTER_SEC = 1.0  # longer than the tick of any file system except FAT
_GET_GENERATION = 0x80087601  # FS_IOC_GETVERSION


class DirectoryIdentity(NamedTuple):
    """What tells a directory from every other one, including a later one that reuses its inode number."""

    device: int
    inode: int
    generation: int  # 0 on file systems that have none

    @classmethod
    def of(cls, handle: int) -> "DirectoryIdentity":
        """Returns the identity of an open directory."""
        status = os.fstat(handle)
        try:
            generation = int.from_bytes(fcntl.ioctl(handle, _GET_GENERATION, bytes(8))[:4], "little")
        except OSError:
            generation = 0
        return cls(status.st_dev, status.st_ino, generation)


@dataclass(slots=True)
class DirectorySnapshot:
    """A directory as it was when it was last listed.

    Attributes:
        seen: device, inode and mtime_ns; None if it was never listed.
        noticed_sec: when it was first seen so.
        is_settled: whether it was listed once more after the mtime became trustworthy.
    """

    seen: tuple[int, int, int] | None = None
    noticed_sec: float = 0.0
    is_settled: bool = False

    @classmethod
    def settled(cls, status: os.stat_result) -> "DirectorySnapshot":
        """Returns the snapshot of a directory whose content is known by other means."""
        return cls((status.st_dev, status.st_ino, status.st_mtime_ns), is_settled=True)

    def is_elsewhere(self, status: os.stat_result) -> bool:
        """Returns whether something else has taken the place of the directory that was listed."""
        return not stat.S_ISDIR(status.st_mode) or (
            self.seen is not None and self.seen[:2] != (status.st_dev, status.st_ino)
        )

    def update(self, status: os.stat_result, now_sec: float) -> bool:
        """Records the directory's present state; returns whether it may have changed, so that it must be listed."""
        seen = (status.st_dev, status.st_ino, status.st_mtime_ns)
        if seen != self.seen:
            self.seen, self.noticed_sec, self.is_settled = seen, now_sec, False
            return True
        if self.is_settled:
            return False
        self.is_settled = now_sec - self.noticed_sec >= SETTLED_AFTER_SEC
        return True
