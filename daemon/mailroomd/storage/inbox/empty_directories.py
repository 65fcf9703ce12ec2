"""EmptyDirectories — removes the directories of mailboxes that the daemon has forgotten.

Mail to a recipient that never existed leaves behind a directory, which occupies an inode. A directory goes when its
mailbox is forgotten and nothing has been put into it or taken out of it for as long as agents are remembered: an agent
that only watches its directory, and never calls the daemon, keeps it that long. Not here: deliveries. Both run in one
thread, between two commits, so no file is ever written into a directory that is being removed; rmdir itself refuses a
directory into which an agent has put something.
"""

__all__ = ["EmptyDirectories"]

import os
import time
from collections.abc import Callable
from contextlib import suppress

from mailroomd.model.names import is_name
from mailroomd.storage.directories.patrol import Patrol, PatrolPace, Slices
from mailroomd.storage.inbox.files import InboxFiles

ROUND_SEC = 600.0
SLICE_ENTRIES = 500  # looked at between two commits: some 2 ms


class EmptyDirectories:
    """Looks for empty directories, in rounds.

    Args:
        files: the inbox directories.
        is_needed: whether a mailbox is known, or has files that are still to be written or removed.
        on_removed: called for each mailbox whose directory was removed.
    """

    def __init__(self, files: InboxFiles, is_needed: Callable[[str], bool], on_removed: Callable[[str], None]) -> None:
        self._files = files
        self._is_needed = is_needed
        self._on_removed = on_removed
        self._empty_sec = 0.0
        self._patrol = Patrol(PatrolPace(ROUND_SEC, SLICE_ENTRIES), self._round, self._round, lambda: False)

    def remove_slice(self, now_sec: float, empty_sec: float) -> None:
        """Does a slice of the round that is due.

        Args:
            now_sec: the monotonic clock.
            empty_sec: how long nothing must have happened in a directory.
        """
        self._empty_sec = empty_sec
        self._patrol.run_slice(now_sec)

    def close(self) -> None:
        """Drops the round in progress."""
        self._patrol.stop_work()

    def _round(self) -> Slices:
        with suppress(OSError), os.scandir(self._files.inbox_fileno) as entries:
            for entry in entries:
                yield
                if is_name(entry.name) and entry.is_dir(follow_symlinks=False):
                    self._check(entry.name)

    def _check(self, mailbox: str) -> None:
        with suppress(OSError):  # not empty, usually
            status = os.stat(mailbox, dir_fd=self._files.inbox_fileno, follow_symlinks=False)
            if time.time() - status.st_mtime >= self._empty_sec and not self._is_needed(mailbox):
                self._files.remove_directory(mailbox)
                self._on_removed(mailbox)
