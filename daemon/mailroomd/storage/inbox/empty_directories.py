"""EmptyDirectories — removes the directories of mailboxes that the daemon has forgotten, or that nobody ever used.

Mail to a recipient that never existed leaves behind a directory, which occupies an inode. A directory goes when its
mailbox is forgotten and nothing has been put into it or taken out of it for as long as agents are remembered: an agent
that only watches its directory, and never calls the daemon, keeps it that long. An *unused* directory goes after an
hour: this process made it, no file was ever taken from it, and its agent never made a call. Not here: deliveries. Both
run in one thread, between two commits, so no file is ever written into a directory that is being removed; rmdir itself
refuses a directory into which an agent has put something.
"""

__all__ = ["EmptyDirectories"]

import os
import time
from collections.abc import Callable
from contextlib import suppress

from mailroomd.model.names import is_name
from mailroomd.storage.directories.files import OPEN_DIRECTORY
from mailroomd.storage.directories.patrol import Patrol, PatrolPace, Slices
from mailroomd.storage.directories.snapshot import DirectoryIdentity
from mailroomd.storage.inbox.files import InboxFiles

ROUND_SEC = 600.0
SLICE_ENTRIES = 500  # looked at between two commits: some 2 ms
UNUSED_SEC = 3600.0  # how long an unused directory stays
UNUSED_MOST = 50_000  # that are remembered; further ones stay as long as any other


class EmptyDirectories:
    """Looks for empty directories, in rounds.

    Args:
        files: the inbox directories.
        is_needed: whether a mailbox is known, or has files that are still to be written or removed.
        is_deserted: whether a mailbox has nothing unread, no such files, and no agent that ever made a call.
        on_removed: called for each mailbox whose directory was removed.
    """

    def __init__(
        self,
        files: InboxFiles,
        is_needed: Callable[[str], bool],
        is_deserted: Callable[[str], bool],
        on_removed: Callable[[str], None],
    ) -> None:
        self._files = files
        self._is_needed = is_needed
        self._is_deserted = is_deserted
        self._on_removed = on_removed
        self._unused: dict[str, DirectoryIdentity] = {}
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

    def on_made(self, mailbox: str, identity: DirectoryIdentity) -> None:
        """Records that the daemon has made a mailbox's directory."""
        if mailbox in self._unused or len(self._unused) < UNUSED_MOST:
            self._unused[mailbox] = identity

    def on_used(self, mailbox: str) -> None:
        """Records that somebody has taken a file from a directory."""
        self._unused.pop(mailbox, None)

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
            if self._may_go(mailbox, time.time() - status.st_mtime):
                self._files.remove_directory(mailbox)
                self._unused.pop(mailbox, None)
                self._on_removed(mailbox)

    def _may_go(self, mailbox: str, quiet_sec: float) -> bool:
        if quiet_sec >= self._empty_sec and not self._is_needed(mailbox):
            return True
        made = self._unused.get(mailbox)
        if made is None or quiet_sec < UNUSED_SEC or not self._is_deserted(mailbox):
            return False
        handle = os.open(mailbox, OPEN_DIRECTORY, dir_fd=self._files.inbox_fileno)
        try:
            return DirectoryIdentity.of(handle) == made  # otherwise somebody put another one in its place
        finally:
            os.close(handle)
